"""One SMTP connection to one host, and the transactions over it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from delivery.courier.auth import sign_in
from delivery.courier.words import reason
from delivery.models import RouteHost
from delivery.ourselves import is_our_address
from delivery.rules import Outcome, Verdict, classify, is_about_the_recipient, is_too_many_recipients
from delivery.services.claims import Addressee, Envelope, Host

CHUNK = 64 * 1024
REPLY_KEPT = 1000  # characters


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


class HostFailed(Exception):  # noqa: N818  (a result, as the rules name it)
    """The host, not a message, is in trouble. `code` is None where it did not answer."""

    def __init__(self, stage: str, code: int | None, reply: str) -> None:
        super().__init__(reply)
        self.stage, self.code, self.reply = stage, real_code(code), tidy(reply)


@dataclass
class Sent:
    """What a transaction came to, by recipient."""

    outcomes: list[Outcome] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    all_sent: bool = False

    @property
    def host_failed(self) -> bool:
        return any(outcome.verdict == Verdict.HOST_FAILURE for outcome in self.outcomes)

    @property
    def throttled(self) -> bool:
        """The host put off a recipient for no reason of the recipient's: it wants less of us."""
        return any(
            outcome.verdict == Verdict.DEFERRED
            and outcome.stage in ("rcpt", "end")
            and not is_about_the_recipient(outcome.reply)
            for outcome in self.outcomes
        )

    @property
    def began(self) -> bool:
        """The host heard of the message, so that the message may be why it failed."""
        return any(outcome.stage in ("mail", "rcpt", "data", "end") for outcome in self.outcomes)

    @property
    def answered(self) -> bool:
        """The host said why it failed, and will say so again."""
        return any(outcome.code not in (None, 421) for outcome in self.outcomes)

    @property
    def uncertain(self) -> bool:
        """The server had it all and did not answer: another host could make a second copy."""
        return self.all_sent and any(outcome.code is None for outcome in self.outcomes)


def real_code(code: int | None) -> int | None:
    """The code of a reply, or None where what came was none (aiosmtplib calls that -1)."""
    return code if code and 100 <= code <= 999 else None


def tidy(reply: str) -> str:
    """A reply as it is kept: one line a line, no control characters, not endless."""
    clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in reply)
    return clean.encode("utf-8", "replace").decode()[:REPLY_KEPT]


def tls_context(verified: bool) -> ssl.SSLContext:
    """For STARTTLS. Unverified TLS still keeps listeners out; MX hosts rarely have a valid name."""
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_context = cache(tls_context)  # loading the system's certificates takes 20 ms


class Connection:
    """Use `Connection.open()`. `usable` is False after trouble, `used` counts messages."""

    def __init__(self, host: Host, smtp: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        self.host, self.smtp, self.timeouts = host, smtp, timeouts
        self.usable = True
        self.used = 0
        self.last_used = time.monotonic()

    @classmethod
    async def open(cls, host: Host, local_hostname: str, timeouts: Timeouts) -> Connection:
        """Connect, greet, and start TLS as the host's policy says. Raises HostFailed."""
        try:
            return await cls._open(host, local_hostname, timeouts, tls=True)
        except HostFailed as failed:
            if must_encrypt(host) or failed.stage != "starttls":
                raise
            return await cls._open(host, local_hostname, timeouts, tls=False)

    @classmethod
    async def _open(cls, host: Host, local_hostname: str, timeouts: Timeouts, *, tls: bool) -> Connection:
        smtp = aiosmtplib.SMTP(
            hostname=host.address or host.hostname,
            port=host.port,
            local_hostname=local_hostname,
            timeout=timeouts.connect,
            start_tls=False,
            tls_context=_context(host.tls == RouteHost.Tls.VERIFIED),
        )
        stage = "connect"
        try:
            greeting = await smtp.connect()
            stage = "banner"
            refuse_ourselves(smtp, greeting.message, local_hostname)
            stage = "ehlo"
            await greet(smtp)
            if tls and (must_encrypt(host) or smtp.supports_extension("starttls")):
                stage = "starttls"
                await smtp.starttls(server_hostname=host.hostname)
                stage = "ehlo"
                await greet(smtp)
            if host.username:
                stage = "auth"
                await sign_in(smtp, host, timeouts.command)
        except aiosmtplib.SMTPConnectResponseError as error:
            smtp.close()
            raise HostFailed("banner", error.code, error.message) from error
        except SMTPResponseException as error:
            smtp.close()
            raise HostFailed(stage, error.code, error.message) from error
        except HostFailed:
            smtp.close()
            raise
        except (SMTPException, OSError) as error:
            smtp.close()
            # aiosmtplib has one exception for a connection without a banner and for no connection.
            if stage == "connect" and "ready message" in str(error):
                stage = "banner"
            raise HostFailed(stage, None, reason(error)) from error
        except BaseException:
            smtp.close()
            raise
        return cls(host, smtp, timeouts)

    @property
    def offered(self) -> tuple[int | None, bool]:
        """The SIZE that the server offers (bytes; None: no limit known), and whether SMTPUTF8."""
        size = self.smtp.esmtp_extensions.get("size", "")
        return (int(size) if size.isdigit() and int(size) else None, self.smtp.supports_extension("smtputf8"))

    async def close(self) -> None:
        """Say QUIT if that makes sense."""
        if self.usable and self.smtp.is_connected:
            with contextlib.suppress(SMTPException, OSError):
                await self.smtp.execute_command(b"QUIT", timeout=self.timeouts.quit)
        self.smtp.close()

    def abort(self) -> None:
        """Cut it. What is not sent yet is thrown away: a server that reads nothing would keep it for ever."""
        if self.smtp.transport is not None:
            self.smtp.transport.abort()  # type: ignore[attr-defined]
        self.smtp.close()

    async def send(self, envelope: Envelope, content: bytes) -> Sent:
        """One transaction. Trouble with the server is an outcome; exceptions are faults of our own."""
        transaction = _Transaction(self, envelope, content)
        self.used += 1
        try:
            await transaction.run()
        except (SMTPException, OSError) as error:
            self.usable = False
            code = error.code if isinstance(error, SMTPResponseException) else None
            transaction.rest(Verdict.HOST_FAILURE, code, str(error) or type(error).__name__)
        except BaseException:
            self.usable = False
            raise
        self.last_used = time.monotonic()
        return transaction.sent

    async def command(self, *words: bytes, seconds: float) -> SMTPResponse:
        reply = await self.smtp.execute_command(*words, timeout=seconds)
        if reply.code == 421:
            self.usable = False
        return reply


def refuse_ourselves(smtp: aiosmtplib.SMTP, greeting: str, own_name: str) -> None:
    """Raise HostFailed when the connection has come back to this gateway: mail would go round for ever."""
    name = (greeting.split() or [""])[0].lower().rstrip(".")
    peer = smtp.get_transport_info("peername") or ("", 0)
    if name == own_name.lower() or (peer[0] and is_our_address(str(peer[0]).partition("%")[0], peer[1])):
        raise HostFailed(
            "banner", None, "This leads back to this gateway itself: mail would go round for ever."
        )


def must_encrypt(host: Host) -> bool:
    """Whether mail for the host goes over TLS or not at all: by its policy, or for the password's sake."""
    return host.tls != RouteHost.Tls.OPPORTUNISTIC or bool(host.username)


async def greet(smtp: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO where the server knows no EHLO. Raises what aiosmtplib raises."""
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code not in (500, 502, 504):
            raise
        await smtp.helo()


class _Transaction:
    """MAIL, RCPT, DATA and the content of one envelope."""

    def __init__(self, connection: Connection, envelope: Envelope, content: bytes) -> None:
        self.connection, self.envelope, self.content = connection, envelope, content
        self.sent = Sent()
        self.stage = "mail"
        self.open: list[Addressee] = list(envelope.recipients)  # without an outcome
        self.utf8 = envelope.smtputf8 and _needs_utf8(envelope, content)

    async def run(self) -> None:
        impossible = self.impossible()
        if impossible:
            self.rest(Verdict.REFUSED, *impossible)
            return
        timeouts = self.connection.timeouts
        reply = await self.connection.command(*self.mail_command(), seconds=timeouts.command)
        if not 200 <= reply.code < 300:
            self.rest(classify("mail", *reply), *reply)
            return
        await self.recipients()
        if not self.open:
            await self.reset()
            return
        self.stage = "data"
        reply = await self.connection.command(b"DATA", seconds=timeouts.data)
        if reply.code != 354:
            verdict = classify("data", *reply) if reply.code >= 400 else Verdict.HOST_FAILURE
            self.rest(verdict, *reply)
            self.connection.usable &= reply.code >= 400  # an answer out of step
            await self.reset()
            return
        self.stage = "end"
        reply = await self.send_content()
        verdict = classify("end", *reply)
        if not self.sent.all_sent:
            self.connection.usable = False
            verdict = verdict if reply.code >= 400 else Verdict.HOST_FAILURE
        self.rest(verdict, *reply)
        self.connection.usable &= reply.code != 421

    async def recipients(self) -> None:
        """Send all RCPT; `open` is left with the accepted ones."""
        self.stage = "rcpt"
        accepted = 0
        for recipient in self.envelope.recipients:
            reply = await self.connection.command(
                *self.rcpt_command(recipient), seconds=self.connection.timeouts.command
            )
            verdict = classify("rcpt", *reply)
            if verdict == Verdict.DELIVERED:
                accepted += 1
                continue
            if verdict == Verdict.HOST_FAILURE:
                self.rest(verdict, *reply)
                return
            self.open.remove(recipient)
            if accepted and is_too_many_recipients(*reply):
                self.sent.released.append(recipient.pk)
            else:
                self.settle(recipient, verdict, *reply)

    async def reset(self) -> None:
        if self.connection.usable:
            self.connection.usable = (
                await self.connection.command(b"RSET", seconds=self.connection.timeouts.command)
            ).code == 250

    async def send_content(self) -> SMTPResponse:
        """The stored bytes, dot-stuffed and nothing else changed, and the reply to them.

        Not aiosmtplib's own DATA, which normalises line ends and builds several copies of the message.
        """
        protocol = self.connection.smtp.protocol
        assert protocol
        stuffed, end = stuff(self.content)
        view = memoryview(stuffed)
        protocol._response_pending = True  # a reply may come before the content has been written
        for start in range(0, max(len(stuffed), 1), CHUNK):
            last = start + CHUNK >= len(stuffed)
            protocol.write(bytes(view[start:]) + end if last else view[start : start + CHUNK])  # type: ignore[arg-type]
            if protocol._paused and not await self.may_go_on(protocol):
                break  # the reply that came already, or before the end of the connection, says why
        else:
            self.sent.all_sent = True
        return await protocol.read_response(timeout=self.connection.timeouts.end)

    async def may_go_on(self, protocol: aiosmtplib.protocol.SMTPProtocol) -> bool:
        """Wait until the server has taken what was written, or has answered: False. Raises TimeoutError."""
        reply = protocol._response_waiter
        if reply is None:
            return False
        drained = asyncio.ensure_future(protocol._drain_helper())
        either: set[asyncio.Future[Any]] = {drained, reply}
        seconds = self.connection.timeouts.block
        try:
            done, _ = await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if not done:
            raise TimeoutError("The server stopped reading the content.")
        return not reply.done() and drained.exception() is None

    def impossible(self) -> tuple[int, str] | None:
        """What this server would refuse, said without asking it."""
        size, utf8 = self.connection.offered
        if size and len(self.content) > size:
            return 552, f"5.3.4 The mail server takes messages of at most {size} bytes."
        if self.utf8 and not utf8:
            return 553, "5.6.7 The mail server does not offer SMTPUTF8."
        return None

    def mail_command(self) -> Sequence[bytes]:
        offers = self.connection.smtp.supports_extension
        words = [b"MAIL", b"FROM:<" + self.encode(self.envelope.sender) + b">"]
        if offers("size"):
            words.append(b"SIZE=%d" % len(self.content))
        if offers("8bitmime") and (self.envelope.body_8bit or self.utf8):
            words.append(b"BODY=8BITMIME")
        if self.utf8:
            words.append(b"SMTPUTF8")
        if offers("dsn"):
            words += _parameters(RET=self.envelope.ret, ENVID=self.envelope.envid)
        return words

    def rcpt_command(self, recipient: Addressee) -> Sequence[bytes]:
        words = [b"RCPT", b"TO:<" + self.encode(recipient.address) + b">"]
        if self.connection.smtp.supports_extension("dsn"):
            words += _parameters(NOTIFY=recipient.notify, ORCPT=recipient.orcpt)
        return words

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


def _parameters(**values: str) -> list[bytes]:
    return [
        f"{name}={value}".encode("ascii")
        for name, value in values.items()
        if value and value.isascii() and value.isprintable() and " " not in value
    ]
