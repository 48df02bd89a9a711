"""The conversation with one host, a step at a time. Network only, no database."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

from accounts.secrets import Unreadable
from delivery.courier.auth import CannotSignIn, sign_in
from delivery.courier.client import Connection, greet, must_encrypt, tls_context
from delivery.courier.transaction import Timeouts
from delivery.courier.words import tidy
from delivery.models import RouteHost
from delivery.routetest.certificates import certificate_facts
from delivery.routetest.connecting import Address, connect, greeted
from delivery.routetest.findings import Finding, answered, clean, words
from delivery.routetest.letter import letter
from delivery.routetest.steps import (
    EXPIRES_SOON_DAYS,
    HOST_SECONDS,
    STEP_SECONDS,
    Problem,
    Result,
    Stage,
    Step,
    causes,
    certificate_problem,
    diagnose_error,
    diagnose_reply,
)
from delivery.rules import Verdict
from delivery.services.claims import Addressee, Envelope, Host

logger = logging.getLogger(__name__)
_TIMEOUTS = Timeouts(*(STEP_SECONDS,) * 5)


@dataclass(frozen=True)
class Plan:
    """What is tested: whom to ask for, whether a real message goes there, and as whom we greet.

    `mx_of` is the domain whose MX records named the host, where the route names none.
    """

    host: Host
    recipient: str
    our_name: str
    send_message: bool
    number: int
    now: datetime
    mx_of: str = ""


class Dialogue:
    """Call `perform` with one stage after the other until one fails, then `close`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deadline = time.monotonic() + HOST_SECONDS
        self.addresses: list[Address] = []
        self.socket: socket.socket | None = None
        self.smtp: aiosmtplib.SMTP | None = None
        self._transports: list[asyncio.BaseTransport | None] = []  # the client forgets what broke off
        self.connection: Connection | None = None  # takes over for the message
        self.deaf = False  # it did not answer the last time

    @property
    def stages(self) -> list[Stage]:
        return [stage for stage in Stage if stage != Stage.MESSAGE or self.plan.send_message]

    async def perform(self, stage: Stage) -> Step:
        """Take one step. Never raises for what the network or the server does."""
        began = time.monotonic()
        work: Callable[[], Awaitable[Finding]] = getattr(self, f"_{stage}")
        try:
            async with asyncio.timeout(max(0.1, min(STEP_SECONDS, self.deadline - began))):
                found = await work()
        except SMTPResponseException as error:
            found = answered(stage, error.code, error.message)
        except (SMTPException, OSError, ssl.SSLError) as error:
            found = Finding(Result.FAILED, words(error), diagnose_error(stage, error))
        except Exception as error:  # the person who waits shall see that it is us
            logger.exception("route test failed at %s", stage)
            found = Finding(Result.FAILED, type(error).__name__, Problem.OUR_FAULT)
        self.deaf = found.problem == Problem.SILENT
        passed = int((time.monotonic() - began) * 1000)
        return Step(
            str(self.plan.host),
            stage.value,
            found.result.value,
            passed,
            tidy(found.said),
            found.problem.value if found.problem else "",
            {name: clean(value) for name, value in found.facts.items()},
        )

    async def close(self) -> None:
        """Leave politely where the server still listens."""
        if self.connection:
            await self.connection.close()
        elif self.smtp:
            with contextlib.suppress(SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    if self.smtp.is_connected and not self.deaf:
                        await self.smtp.execute_command(b"QUIT")
            self.smtp.close()
        if self.socket:
            self.socket.close()
        for transport in self._transports:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # TLS would wait for the other side's goodbye
        await asyncio.sleep(0)  # the loop closes sockets in its next round, which may be its last

    # --- the steps ---------------------------------------------------------------------------------------

    async def _dns(self) -> Finding:
        host = self.plan.host
        name, port = (host.address or host.hostname).strip("[]"), host.port
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        self.addresses = [(family, address) for family, _kind, _protocol, _name, address in found]
        if host.address:
            return Finding(facts={"mx_of": self.plan.mx_of, "addresses": [host.address]})
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return Finding(Result.SKIPPED, facts={"literal": True})
        return Finding(facts={"addresses": list(dict.fromkeys(str(one[1][0]) for one in self.addresses))})

    async def _tcp(self) -> Finding:
        self.socket, address, failed = await connect(self.addresses, self.deadline)
        return Finding(facts={"address": address, "failed_addresses": failed})

    async def _banner(self) -> Finding:
        assert self.socket
        self.smtp, banner = await greeted(self.socket, self.plan.our_name)
        self._transports.append(self.smtp.transport)
        self.socket = None
        return answered(Stage.BANNER, *banner)

    async def _ehlo(self) -> Finding:
        assert self.smtp
        await greet(self.smtp)
        answer = self.smtp.last_ehlo_response
        said = f"{answer.code} {answer.message.splitlines()[0]}" if answer and answer.message else ""
        offered = [f"{name} {value}".strip().upper() for name, value in self.smtp.esmtp_extensions.items()]
        facts = {"extensions": offered}
        if self.plan.host.xclient and not self.smtp.supports_extension("xclient"):
            return Finding(Result.WARNING, said, Problem.XCLIENT_MISSING, facts)
        return Finding(said=said, facts=facts)

    async def _starttls(self) -> Finding:
        """As the route's policy has it; what the system thinks of the certificate is told in any case."""
        assert self.smtp
        opportunistic = not must_encrypt(self.plan.host)
        if not self.smtp.supports_extension("starttls"):
            result = Result.WARNING if opportunistic else Result.FAILED
            return Finding(result, problem=Problem.TLS_MISSING)
        try:
            distrust = await self._secure(verified=True)
            if distrust:
                await self._again()
                await self._secure(verified=False)
        except SMTPResponseException as error:
            found = answered(Stage.STARTTLS, error.code, error.message)
            return await self._in_the_clear(found) if opportunistic else found
        except (SMTPException, OSError) as error:
            found = Finding(Result.FAILED, words(error), diagnose_error(Stage.STARTTLS, error))
            return await self._in_the_clear(found) if opportunistic else found
        facts = self._certificate()
        await greet(self.smtp)
        return self._judged(distrust, facts)

    async def _secure(self, *, verified: bool) -> ssl.SSLCertVerificationError | None:
        """Start TLS; the error if, asked to verify, the system does not trust the certificate."""
        assert self.smtp
        try:
            await self.smtp.starttls(
                tls_context=tls_context(verified), server_hostname=self.plan.host.hostname.strip("[]")
            )
        except (SMTPException, OSError) as error:
            for cause in causes(error):
                if isinstance(cause, ssl.SSLCertVerificationError):
                    return cause
            raise
        return None

    async def _again(self) -> None:
        """A new connection up to EHLO: after a refused certificate the old one is of no use."""
        if self.smtp:
            self.smtp.close()
        connected, _address, _failed = await connect(self.addresses, self.deadline)
        self.smtp, _banner = await greeted(connected, self.plan.our_name)
        self._transports.append(self.smtp.transport)
        await greet(self.smtp)

    async def _in_the_clear(self, found: Finding) -> Finding:
        """An opportunistic route goes on without TLS, as the courier does."""
        await self._again()
        found.result = Result.WARNING
        return found

    def _certificate(self) -> dict[str, Any]:
        assert self.smtp
        connection = self.smtp.get_transport_info("ssl_object")
        return certificate_facts(connection, self.plan.now) if connection else {}

    def _judged(self, distrust: ssl.SSLCertVerificationError | None, facts: dict[str, Any]) -> Finding:
        if distrust:
            verified = self.plan.host.tls == RouteHost.Tls.VERIFIED
            result = Result.FAILED if verified else Result.WARNING
            return Finding(result, words(distrust), certificate_problem(distrust), facts)
        if facts.get("days", EXPIRES_SOON_DAYS) < EXPIRES_SOON_DAYS:
            return Finding(Result.WARNING, "", Problem.CERTIFICATE_EXPIRES, facts | {"trusted": True})
        return Finding(facts=facts | {"trusted": True})

    async def _auth(self) -> Finding:
        assert self.smtp
        if not self.plan.host.username:
            return Finding(Result.SKIPPED)
        facts = {"username": self.plan.host.username}
        try:
            await sign_in(self.smtp, self.plan.host, STEP_SECONDS)
        except CannotSignIn as error:
            unreadable = isinstance(error.__cause__, Unreadable)
            problem = Problem.PASSWORD_UNREADABLE if unreadable else Problem.AUTH_MISSING
            return Finding(Result.FAILED, str(error), problem, facts)
        return Finding(facts=facts)

    async def _mail(self) -> Finding:
        """From <>, which every server must take (RFC 5321 4.5.5), or else from the gateway's postmaster."""
        assert self.smtp
        answer = await self.smtp.execute_command(b"MAIL", b"FROM:<>")
        if answer.code >= 500:
            await self.smtp.execute_command(b"RSET")
            sender = f"FROM:<postmaster@{self.plan.our_name}>".encode("ascii", "replace")
            answer = await self.smtp.execute_command(b"MAIL", sender)
        return answered(Stage.MAIL, *answer)

    async def _rcpt(self) -> Finding:
        assert self.smtp
        command = f"TO:<{self.plan.recipient}>".encode("ascii", "replace")
        found = answered(Stage.RCPT, *await self.smtp.execute_command(b"RCPT", command))
        found.facts["recipient"] = self.plan.recipient
        if found.problem != Problem.BUSY:  # after 421 it has hung up
            await self.smtp.execute_command(b"RSET")
        return found

    async def _message(self) -> Finding:
        """A real message, by the courier's own transaction."""
        assert self.smtp
        content, identifier = letter(self.plan)
        envelope = Envelope(
            hop_id=0,
            message_id=0,
            sender="",
            size=len(content),
            smtputf8=False,
            body_8bit=False,
            ret="",
            envid="",
            content=content,
            recipients=(Addressee(0, self.plan.recipient, "NEVER", ""),),
        )
        self.connection = Connection(self.plan.host, self.smtp, _TIMEOUTS)
        sent = await self.connection.send(envelope, content)
        answer = sent.outcomes[0]
        said = f"{answer.code} {answer.reply}" if answer.code else answer.reply
        facts = {"message_id": identifier, "at": answer.stage}
        if answer.verdict == Verdict.DELIVERED:
            return Finding(said=said, facts=facts)
        stage = Stage.RCPT if answer.stage == "rcpt" else Stage.MESSAGE
        _result, problem = diagnose_reply(stage, answer.code, answer.reply)
        return Finding(Result.FAILED, said, problem, facts)
