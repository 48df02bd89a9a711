"""One SMTP connection to one host: opened as its policy says, used for one transaction after the other."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException
from aiosmtplib.esmtp import parse_esmtp_extensions

from delivery.courier.auth import sign_in
from delivery.courier.sent import HostFailed, Sent
from delivery.courier.transaction import Offers, Timeouts, Transaction
from delivery.courier.wire import taken_over
from delivery.courier.words import reason
from delivery.courier.xclient import Refused, client_of, introduce
from delivery.models import RouteHost
from delivery.ourselves import is_our_address
from delivery.rules import Verdict
from delivery.services.claims import Client, Envelope, Host


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

    def __init__(
        self, host: Host, smtp: aiosmtplib.SMTP, timeouts: Timeouts, *, pipelining: bool = True
    ) -> None:
        """Takes over what aiosmtplib has opened. Raises SMTPServerDisconnected where that is gone."""
        self.host, self.timeouts = host, timeouts
        self._pipelining = pipelining
        self._learn(smtp.esmtp_extensions)
        self._names = self.offers.xclient if host.xclient else frozenset()
        self.wire = taken_over(smtp.transport)
        self.used = 0
        self.client: Client | None = None  # whom XCLIENT named; None: nobody but us

    def _learn(self, extensions: Mapping[str, str]) -> None:
        offers = Offers.of(extensions)
        self.offers = replace(offers, pipelining=offers.pipelining and self._pipelining)

    @classmethod
    async def open(
        cls, host: Host, local_hostname: str, timeouts: Timeouts, *, pipelining: bool = True
    ) -> Connection:
        """Connect, greet, and start TLS as the host's policy says. Raises HostFailed.

        Without `pipelining` each command waits for the reply to the one before, whatever the server offers.
        """
        try:
            smtp = await cls._open(host, local_hostname, timeouts, tls=True)
        except HostFailed as failed:
            if must_encrypt(host) or failed.stage != "starttls":
                raise
            smtp = await cls._open(host, local_hostname, timeouts, tls=False)
        try:
            return cls(host, smtp, timeouts, pipelining=pipelining)
        except SMTPException as error:
            raise HostFailed("ehlo", None, str(error)) from error

    @staticmethod
    async def _open(host: Host, local_hostname: str, timeouts: Timeouts, *, tls: bool) -> aiosmtplib.SMTP:
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
        return smtp

    @property
    def usable(self) -> bool:
        return self.wire.usable

    @property
    def offered(self) -> tuple[int | None, bool]:
        """The SIZE that the server offers (bytes; None: no limit known), and whether SMTPUTF8."""
        return self.offers.size, self.offers.utf8

    async def close(self) -> None:
        """Say QUIT if that makes sense."""
        if self.usable:
            with contextlib.suppress(SMTPException, OSError):
                self.wire.write(b"QUIT\r\n")
                await self.wire.read(self.timeouts.quit)
        self.wire.close()

    def abort(self) -> None:
        """Cut it. What is not sent yet is thrown away: a server that reads nothing would keep it for ever."""
        self.wire.abort()

    async def send(self, envelope: Envelope, content: bytes, *, naming: bool = True) -> Sent:
        """One transaction. Trouble with the server is an outcome; exceptions are faults of our own.

        Without `naming` the server is not told whose message it is, whatever it offers and the route says.
        """
        self.used += 1
        client = client_of(envelope) if naming and "ADDR" in self._names else None
        if client and client != self.client:
            try:
                await self._introduce(client)
            except Refused as refused:
                self.wire.usable = False
                transaction = Transaction(self.wire, self.offers, self.timeouts, envelope, content)
                transaction.stage = "xclient"
                transaction.rest(Verdict.HOST_FAILURE, refused.code, refused.words)
                transaction.sent.unnamed = True
                return transaction.sent
        transaction = Transaction(self.wire, self.offers, self.timeouts, envelope, content)
        await transaction.run()
        return transaction.sent

    async def _introduce(self, client: Client) -> None:
        """Raises xclient.Refused; then nobody can say whom the server takes us for."""
        answer = await introduce(self.wire, self._names, client, self.timeouts.command)
        self.client = client
        self._learn(parse_esmtp_extensions(answer)[0])

    def suits(self, envelope: Envelope) -> bool:
        """False where the server takes us for somebody else: Postfix lets none whom we named name another."""
        return self.client is None or self.client == client_of(envelope)


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
