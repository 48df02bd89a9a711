"""MAIL, RCPT, DATA and the content of one envelope."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiosmtplib import SMTPException, SMTPResponse

from delivery.courier.sent import Sent
from delivery.courier.wire import OutOfStep, Wire
from delivery.courier.words import real_code, tidy
from delivery.rules import Outcome, Verdict, classify, is_too_many_recipients
from delivery.services.claims import Addressee, Envelope

CHUNK = 64 * 1024
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")  # in an address it would end the command, and begin another


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for the server, by stage (RFC 5321 4.5.3.2, but 60 s where a monitor would wait)."""

    connect: float = 60
    command: float = 60
    data: float = 120
    block: float = 180
    end: float = 600
    idle: float = 5
    quit: float = 2


@dataclass(frozen=True)
class Offers:
    """What the server can do (its EHLO). `size` in bytes; None: no limit known."""

    size: int | None = None
    declares_size: bool = False
    utf8: bool = False
    eight_bit: bool = False
    dsn: bool = False
    pipelining: bool = False
    xclient: frozenset[str] = frozenset()  # attributes of the client that it wants to be told

    @classmethod
    def of(cls, found: Mapping[str, str]) -> Offers:
        """By the extensions of its EHLO, names in lower case."""
        size = found.get("size", "")
        return cls(
            size=int(size) if size.isdigit() and int(size) else None,
            declares_size="size" in found,
            utf8="smtputf8" in found,
            eight_bit="8bitmime" in found,
            dsn="dsn" in found,
            pipelining="pipelining" in found,
            xclient=frozenset(found.get("xclient", "").upper().split()),
        )


class Transaction:
    """`run()` once. `sent` has what it came to, whatever happened."""

    def __init__(
        self, wire: Wire, offers: Offers, timeouts: Timeouts, envelope: Envelope, content: bytes
    ) -> None:
        self.wire, self.offers, self.timeouts = wire, offers, timeouts
        self.envelope, self.content = envelope, content
        self.sent = Sent(dsn=offers.dsn)
        self.stage = "mail"
        self.open: list[Addressee] = list(envelope.recipients)  # without an outcome
        self.utf8 = envelope.smtputf8 and _needs_utf8(envelope, content)

    async def run(self) -> None:
        """Trouble with the server is an outcome; exceptions are faults of our own."""
        impossible = self.impossible()
        if impossible:
            self.rest(Verdict.REFUSED, *impossible)
            return
        mail = self.mail_command()
        recipients = [self.rcpt_command(recipient) for recipient in self.envelope.recipients]
        try:
            await self.dialogue(mail, recipients)
        except (SMTPException, OSError) as error:
            self.wire.usable = False
            # No answer to MAIL may be a connection that the server closed while it was idle.
            amid = self.stage in ("rcpt", "data") or isinstance(error, TimeoutError)
            self.sent.lost_count = self.offers.pipelining and amid and self.stage != "end"
            self.rest(Verdict.HOST_FAILURE, None, str(error) or type(error).__name__)
        except BaseException:
            self.wire.usable = False
            raise

    async def dialogue(self, mail: bytes, recipients: Sequence[bytes]) -> None:
        if self.offers.pipelining:
            self.wire.write(b"".join((mail, *recipients, b"DATA\r\n")), 2 + len(recipients))
        reply = await self.answer(mail, self.timeouts.command)
        if not 200 <= reply.code < 300:
            self.rest(classify("mail", *reply), *reply)
            if self.offers.pipelining:
                await self.drop(unread=len(recipients))
            return
        self.stage = "rcpt"
        await self.recipients(recipients)
        if not self.open:
            await self.drop()
            return
        self.stage = "data"
        reply = await self.answer(b"DATA\r\n", self.timeouts.data)
        if self.wire.out_of_step or not (reply.code == 354 or 400 <= reply.code < 600):
            raise OutOfStep(f"The server answered DATA with {reply.code} {reply.message}")
        if reply.code != 354:
            self.rest(classify("data", *reply), *reply)
            await self.reset()
            return
        self.stage = "end"
        reply = await self.send_content()
        verdict = classify("end", *reply)
        if not self.sent.all_sent:
            self.wire.usable = False
            verdict = verdict if reply.code >= 400 else Verdict.HOST_FAILURE
        self.rest(verdict, *reply)

    async def answer(self, command: bytes, seconds: float) -> SMTPResponse:
        """The reply to a command, which is sent first unless it went with its group."""
        if not self.offers.pipelining:
            self.wire.write(command)
        return await self.wire.read(seconds)

    async def recipients(self, commands: Sequence[bytes]) -> None:
        """All RCPT; `open` is left with the accepted ones."""
        accepted = 0
        for recipient, command in zip(self.envelope.recipients, commands, strict=True):
            reply = await self.answer(command, self.timeouts.command)
            verdict = classify("rcpt", *reply)
            if verdict == Verdict.DELIVERED:
                accepted += 1
                continue
            if verdict == Verdict.HOST_FAILURE:
                self.wire.usable = False
                self.sent.lost_count = self.offers.pipelining and reply.code != 421
                self.rest(verdict, *reply)
                return
            self.open.remove(recipient)
            if accepted and is_too_many_recipients(*reply):
                self.sent.released.append(recipient.pk)
            else:
                self.settle(recipient, verdict, *reply)

    async def drop(self, unread: int = 0) -> None:
        """Nobody is left to send to: make the connection ready for the next transaction, if it can be.

        A DATA that went with its group may have been accepted all the same; then a lone dot ends it, and no
        answer to that makes a recipient (RFC 2920 3.1).
        """
        self.stage = "reset"
        if self.offers.pipelining and self.wire.usable:
            for _ in range(unread):
                await self.wire.read(self.timeouts.command)
            reply = await self.wire.read(self.timeouts.data)
            if reply.code == 354:
                self.wire.write(b".\r\n")
                await self.wire.read(self.timeouts.end)
        await self.reset()

    async def reset(self) -> None:
        if self.wire.usable:
            self.wire.write(b"RSET\r\n")
            self.wire.usable &= (await self.wire.read(self.timeouts.command)).code == 250

    async def send_content(self) -> SMTPResponse:
        """The stored bytes, dot-stuffed and nothing else changed, and the reply to them."""
        stuffed, end = stuff(self.content)
        view = memoryview(stuffed)
        for start in range(0, max(len(stuffed), 1), CHUNK):
            last = start + CHUNK >= len(stuffed)
            part = bytes(view[start:]) + end if last else view[start : start + CHUNK]
            self.wire.write(part, replies=int(start == 0))  # it may come before all has been written
            if not await self.wire.drained(self.timeouts.block) or (self.wire.answered and not last):
                break  # the reply that came already, or before the end of the connection, says why
        else:
            self.sent.all_sent = True
        return await self.wire.read(self.timeouts.end)

    def impossible(self) -> tuple[int, str] | None:
        """What this server would refuse, said without asking it."""
        size = self.offers.size
        if size and len(self.content) > size:
            return 552, f"5.3.4 The mail server takes messages of at most {size} bytes."
        if self.utf8 and not self.offers.utf8:
            return 553, "5.6.7 The mail server does not offer SMTPUTF8."
        return None

    def mail_command(self) -> bytes:
        words = [b"FROM:<" + self.encode(self.envelope.sender) + b">"]
        if self.offers.declares_size:
            words.append(b"SIZE=%d" % len(self.content))
        if self.offers.eight_bit and (self.envelope.body_8bit or self.utf8):
            words.append(b"BODY=8BITMIME")
        if self.utf8:
            words.append(b"SMTPUTF8")
        if self.offers.dsn:
            words += _parameters(RET=self.envelope.ret, ENVID=self.envelope.envid)
        return _command(b"MAIL", words)

    def rcpt_command(self, recipient: Addressee) -> bytes:
        words = [b"TO:<" + self.encode(recipient.address) + b">"]
        if self.offers.dsn:
            words += _parameters(NOTIFY=recipient.notify, ORCPT=recipient.orcpt)
        return _command(b"RCPT", words)

    def encode(self, address: str) -> bytes:
        return address.encode("utf-8" if self.utf8 else "ascii")

    def settle(self, recipient: Addressee, verdict: Verdict, code: int | None, reply: str) -> None:
        self.sent.outcomes.append(
            Outcome(recipient.pk, recipient.address, verdict, self.stage, real_code(code), tidy(reply))
        )

    def rest(self, verdict: Verdict, code: int | None, reply: str) -> None:
        """The same outcome for all recipients that have none yet."""
        for recipient in self.open:
            self.settle(recipient, verdict, code, reply)
        self.open = []


def stuff(content: bytes) -> tuple[bytes, bytes]:
    """Content as it goes over the wire, and what ends it (RFC 5321 4.5.2). Copied only where it changes."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed, b".\r\n" if not stuffed or stuffed.endswith(b"\r\n") else b"\r\n.\r\n"


def _needs_utf8(envelope: Envelope, content: bytes) -> bool:
    """An address or a header is not ASCII; 8-bit content alone needs no SMTPUTF8 (RFC 6531 3.2)."""
    addresses = (envelope.sender, *(recipient.address for recipient in envelope.recipients))
    return not (all(map(str.isascii, addresses)) and content.partition(b"\r\n\r\n")[0].isascii())


def _command(verb: bytes, words: Sequence[bytes]) -> bytes:
    line = b" ".join((verb, *words))
    if _CONTROL.search(line):
        raise ValueError("A command cannot contain control characters.")
    return line + b"\r\n"


def _parameters(**values: str) -> list[bytes]:
    return [
        f"{name}={value}".encode("ascii")
        for name, value in values.items()
        if value and value.isascii() and value.isprintable() and " " not in value
    ]
