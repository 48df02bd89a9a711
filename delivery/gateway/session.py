"""What a client may say, and what it is told (RFC 5321)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError

from delivery.authentic.evaluation import UNKNOWN, Verdict
from delivery.authentic.results import prepend_results
from delivery.gateway.addresses import Mailbox, parse_parameters, parse_path
from delivery.gateway.commit import Parcel
from delivery.gateway.connection import SmtpConnection
from delivery.gateway.data import DataReader
from delivery.gateway.directory import RELAY, Destination
from delivery.gateway.lines import after, parse_line
from delivery.gateway.outbound import outbound_domain
from delivery.gateway.refusal import NO_SPACE, NOT_NOW, SYNTAX, TOO_LARGE, Refusal
from delivery.gateway.transaction import Transaction

if TYPE_CHECKING:
    from delivery.gateway.server import Gateway

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024

Command = Callable[["SmtpSession", str], Coroutine[Any, Any, None]]


class SmtpSession(SmtpConnection):
    """The SMTP dialogue of one connection."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self.mail = Transaction()
        self.helo = self.signed_in = ""
        self.esmtp = False
        self._commands_left = gateway.limits.commands
        self._errors_left = gateway.limits.errors

    def _set_rset_state(self) -> None:
        if self.mail.spf:
            self.mail.spf.cancel()
        self.mail = Transaction()

    async def _answer(self, line: bytes) -> None:
        """Run one command. An empty `line` stands for one that was too long."""
        try:
            self._commands_left -= 1
            if self._commands_left < 0:
                self._close("421 4.7.0 Too many commands")
            verb, argument = parse_line(line)
            command = _COMMANDS.get(verb)
            if command is None:
                raise Refusal("500 5.5.1 Command not recognised")
            await command(self, argument)
        except Refusal as refusal:
            self._refuse(refusal.reply)
        except (OSError, asyncio.CancelledError):
            raise
        except DatabaseError:  # logged where it happened, once for all who waited
            self._refuse(NOT_NOW)
        except Exception:
            log.exception("a command of %s failed", self.address)
            self._refuse(NOT_NOW)

    def _close(self, reply: str) -> None:
        self._quitting = True
        raise Refusal(reply)

    def _refuse(self, reply: str) -> None:
        self._say(reply)
        if reply[0] == "5":
            self._errors_left -= 1
            if self._errors_left <= 0:
                self._quitting = True
                self._say("421 4.7.0 Too many errors")

    # --- Greeting -----------------------------------------------------------------------------------

    async def _helo(self, argument: str) -> None:
        self._greeted(argument, esmtp=False)
        self._say(f"250 {self._gateway.name}")

    async def _ehlo(self, argument: str) -> None:
        self._greeted(argument, esmtp=True)
        offers = self._offers(await self._gateway.directory.size_to_offer())
        lines = [f"{self._gateway.name} greets {self.address}", *offers]
        for line in lines[:-1]:
            self._say(f"250-{line}")
        self._say(f"250 {lines[-1]}")

    def _offers(self, size: int) -> list[str]:
        offers = ["PIPELINING", f"SIZE {size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
        return offers if self.tls else [*offers, "STARTTLS"]

    def _greeted(self, name: str, *, esmtp: bool) -> None:
        if not name:
            raise Refusal("501 5.5.4 Say your host name")
        self.helo, self.esmtp = name[:255], esmtp
        self._set_rset_state()

    async def _starttls(self, argument: str) -> None:
        if argument:
            raise Refusal(f"{SYNTAX} STARTTLS has no parameter")
        if self.tls:
            raise Refusal("503 5.5.1 TLS is on already")
        await self._start_tls("220 2.0.0 Go ahead")
        self.helo, self.esmtp = "", False
        self._set_rset_state()

    # --- Mail ---------------------------------------------------------------------------------------

    async def _mail(self, argument: str) -> None:
        if not self.helo:
            raise Refusal("503 5.5.1 Say EHLO first")
        if self.mail.begun:
            raise Refusal("503 5.5.1 A message is under way already")
        path, parameters = parse_path(after("FROM:", argument))
        account = await self._sender_account(path)
        options = parse_parameters(parameters)
        if self.signed_in:
            options.pop("AUTH", None)  # RFC 4954 section 5: allowed, and of no use to us
        self.mail.begin(path, options, self._gateway.limits.size)
        self.mail.account = account
        self._say("250 2.1.0 Sender taken")

    async def _rcpt(self, argument: str) -> None:
        if not self.mail.begun:
            raise Refusal("503 5.5.1 Say MAIL first")
        path, parameters = parse_path(after("TO:", argument))
        if path is None:
            raise Refusal("553 5.1.3 A recipient is needed")
        if len(self.mail.recipients) >= self._gateway.limits.recipients:
            raise Refusal("452 4.5.3 Too many recipients, send the rest in another message")
        options = parse_parameters(parameters)
        destination = await self._destination(path)
        await self._begin_evaluation()
        self.mail.add(path, options, destination)
        self._say("250 2.1.5 Recipient taken")

    # On the submission port these two are different.

    async def _sender_account(self, sender: Mailbox | None) -> int | None:
        return None

    async def _sign_in(self, argument: str) -> None:
        raise Refusal("502 5.5.1 No authentication here: this server takes mail for its own domains only")

    async def _destination(self, path: Mailbox) -> Destination:
        """Where the recipient's mail goes: in, or out for those who may send. Raises Refusal."""
        try:
            return await self._gateway.directory.find(path)
        except Refusal as refusal:
            if refusal.reply != RELAY:
                raise
            mail, outbound = self.mail, self._gateway.outbound
            if mail.account is None:
                mail.account = await outbound.account_at(self.address, mail.sender, mail.sender_domain)
            if mail.account is None:
                raise
            return await outbound.find(mail.account, outbound_domain(path))

    async def _data(self, argument: str) -> None:
        if argument:
            raise Refusal(f"{SYNTAX} DATA has no parameter")
        if not self.mail.begun:
            raise Refusal("503 5.5.1 Say MAIL first")
        if not self.mail.recipients:
            raise Refusal("554 5.5.1 No valid recipients")
        held = self.mail.declared_size
        if not self._gateway.budget.take(held):
            raise Refusal(NO_SPACE)
        try:
            await self._message(held)
        finally:
            self._set_rset_state()

    async def _message(self, held: int) -> None:
        """Read the data, store the message, answer. `held` bytes of the budget are given back."""
        gateway, transaction = self._gateway, self.mail
        queue_id = gateway.tracer.new_id(outbound=transaction.outbound)
        received = gateway.tracer.received(
            queue_id,
            helo=self.helo,
            address=self.address,
            tls=self._tls_words(),
            protocol=self._protocol_name(),
        )
        reader = DataReader(received, gateway.limits.size)
        try:
            self._at_work = False
            self._say("354 End data with <CR><LF>.<CR><LF>")
            await self._flush()
            rest = None
            while rest is None:
                chunk = await self._reader.read(_CHUNK)
                if not chunk:
                    raise ConnectionResetError("in the middle of a message")
                self._extend_deadline(len(chunk))
                rest = reader.feed(chunk)
                more = len(reader) - held
                if more > 0:
                    if gateway.budget.take(more):
                        held += more
                    else:
                        # What it held is free for the others at once, or nobody would get through.
                        reader.refuse(NO_SPACE)
                        gateway.budget.give_back(held)
                        held = 0
            self._at_work = True
            self._reader.put_back(rest)
            data = reader.content(refuse_bare=gateway.refuse_bare)
            gateway.tracer.check_loop(data, len(received), outbound=transaction.outbound)
            verdict = await self._evaluated(data, len(received))
            start = len(received) + prepend_results(data, len(received), gateway.name, verdict.words)
            if len(data) > transaction.smallest_offer:
                raise Refusal(TOO_LARGE)
            parcel = transaction.parcel(
                data, start, address=self.address, helo=self.helo, tls=self.tls, verdict=verdict
            )
            await self._commit(parcel, queue_id)
        finally:
            gateway.budget.give_back(held)

    async def _begin_evaluation(self) -> None:
        """There is a first recipient: what the DNS says of the sender is asked while the data come.

        Of clients in networks of our own nothing is asked. They may be any of us, but nobody else.
        """
        evaluator, mail = self._gateway.evaluator, self.mail
        if evaluator is None or mail.recipients or mail.spf is not None or mail.account is not None:
            return
        if not evaluator.trusts(self.address):
            mail.spf = evaluator.begin(self.address, mail.sender, mail.sender_domain, self.helo)
        elif mail.sender:
            mail.of_ours = await self._gateway.outbound.owner_of(mail.sender_domain) is not None

    async def _evaluated(self, data: bytearray, start: int) -> Verdict:
        """What is known of the sender. Who signed in, or sends from our own networks, is who they say."""
        evaluator, mail = self._gateway.evaluator, self.mail
        if mail.account is not None:
            return Verdict(bool(mail.sender) or None, ())
        if evaluator is None:
            return UNKNOWN
        if mail.spf is None:
            return Verdict(True, ()) if mail.of_ours else UNKNOWN
        return await evaluator.finish(mail.spf, mail.sender_domain, data, start, self.helo)

    async def _commit(self, parcel: Parcel, queue_id: str) -> None:
        self._committing = True
        try:
            await self._gateway.commits.submit(parcel)
        except Exception as error:
            log.error("%s from %s not stored: %s", queue_id, self.address, type(error).__name__)
            self._gateway.directory.forget()  # a route that was taken away, perhaps
            self._gateway.outbound.forget()
            raise Refusal(NOT_NOW) from error
        finally:
            self._committing = False
        log.info(
            "accepted %s from=<%s> client=%s%s size=%d recipients=%d",
            queue_id,
            self.mail.sender,
            self.address,
            f" user={self.signed_in}" if self.signed_in else "",
            len(parcel[0].data),
            len(self.mail.recipients),
        )
        self._commands_left = self._gateway.limits.commands
        self._errors_left = self._gateway.limits.errors
        self._say(f"250 2.0.0 Stored as {queue_id}")

    def _tls_words(self) -> str:
        return f"{self.tls} {self.cipher}" if self.tls else ""

    def _protocol_name(self) -> str:
        """RFC 3848 and RFC 6531 3.7.3."""
        if not self.esmtp:
            return "SMTP"
        name = "UTF8SMTP" if self.mail.smtputf8 else "ESMTP"
        return f"{name}{'S' if self.tls else ''}{'A' if self.signed_in else ''}"

    # --- The rest -----------------------------------------------------------------------------------

    async def _rset(self, argument: str) -> None:
        if argument:
            raise Refusal(f"{SYNTAX} RSET has no parameter")
        self._set_rset_state()
        self._say("250 2.0.0 Forgotten")

    async def _noop(self, argument: str) -> None:
        self._say("250 2.0.0 Still here")

    async def _quit(self, argument: str) -> None:
        self._say("221 2.0.0 Goodbye")
        self._quitting = True

    async def _vrfy(self, argument: str) -> None:
        self._say("252 2.1.5 Send the mail and see")

    async def _help(self, argument: str) -> None:
        self._say("214 2.0.0 RFC 5321")

    async def _expn(self, argument: str) -> None:
        raise Refusal("502 5.5.1 Not offered")

    async def _auth(self, argument: str) -> None:
        await self._sign_in(argument)


_COMMANDS: dict[str, Command] = {
    "HELO": SmtpSession._helo,
    "EHLO": SmtpSession._ehlo,
    "STARTTLS": SmtpSession._starttls,
    "MAIL": SmtpSession._mail,
    "RCPT": SmtpSession._rcpt,
    "DATA": SmtpSession._data,
    "RSET": SmtpSession._rset,
    "NOOP": SmtpSession._noop,
    "QUIT": SmtpSession._quit,
    "VRFY": SmtpSession._vrfy,
    "HELP": SmtpSession._help,
    "EXPN": SmtpSession._expn,
    "AUTH": SmtpSession._auth,
}
