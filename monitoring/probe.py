"""The active probe of a route: connect, EHLO, STARTTLS, MAIL and RCPT, never DATA. Network only, no database.

`docs/monitoring.md` says which answers of the server count as a failure of the route.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import aiosmtplib

from delivery.courier.auth import sign_in
from delivery.courier.words import reason
from delivery.services.claims import Host

# Sockets open at once. The probes beyond that wait; one that begins too late counts as not made.
AT_ONCE = 400
# What is kept of a server's words, in characters.
LONGEST_REPLY = 500
_GOODBYE_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """One probe to make: the hosts in order of preference, whom to ask for, and the limit in seconds.

    `strict`: a refusal of the recipient is a failure, as the route is suspected of refusing everybody.
    With a `letter` it is an outbound probe: that message is handed in, from `sender`.
    """

    key: int
    hosts: Sequence[Host]
    recipient: str
    limit: float
    our_name: str
    strict: bool = False
    sender: str = ""
    letter: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """How a probe ended: at which host and stage, with the server's words or, without any, ours."""

    ok: bool
    host: str
    stage: str
    reply: str


@dataclass
class _Failed(Exception):  # noqa: N818  (it says how one host failed)
    reply: str
    args: tuple[object, ...] = field(default=(), init=False)


def probe_all(plans: Sequence[Plan], done: Callable[[Plan, Outcome], None]) -> None:
    """Make all probes at the same time; `done` is called with each outcome as soon as it is known."""
    asyncio.run(_probe_all(plans, done))


async def _probe_all(plans: Sequence[Plan], done: Callable[[Plan, Outcome], None]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(plan: Plan) -> None:
        async with turns:
            done(plan, await probe(plan))

    async with asyncio.TaskGroup() as tasks:
        for plan in plans:
            tasks.create_task(one(plan))


async def probe(plan: Plan) -> Outcome:
    """Ask one host after the other until one works; each gets an equal share of the time that is left."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + plan.limit
    outcome = Outcome(False, "", "connect", "The route has no host.")
    for number, host in enumerate(plan.hosts):
        share = max(0.0, deadline - loop.time()) / (len(plan.hosts) - number)
        outcome = await _probe_host(plan, host, share)
        if outcome.ok:
            return outcome
    return outcome


async def _probe_host(plan: Plan, host: Host, seconds: float) -> Outcome:
    deadline = asyncio.get_running_loop().time() + seconds
    outcome = await _try_host(plan, host, deadline, seconds, tls=True)
    if outcome.stage == "starttls" and not outcome.ok and host.tls == "opportunistic":
        # As for mail: TLS when it works, else in the clear.
        outcome = await _try_host(plan, host, deadline, seconds, tls=False)
    return outcome


async def _try_host(plan: Plan, host: Host, deadline: float, seconds: float, *, tls: bool) -> Outcome:
    session = _Session(plan, host, seconds, tls)
    try:
        async with asyncio.timeout_at(deadline):
            reply = await session.run()
    except TimeoutError:
        return session.outcome(False, f"No answer within {seconds:.0f} s.")
    except _Failed as failed:
        return session.outcome(False, failed.reply)
    except aiosmtplib.SMTPResponseException as error:
        return session.outcome(False, f"{error.code} {error.message}")
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return session.outcome(False, reason(error))
    else:
        return session.outcome(True, reply)
    finally:
        await session.close()


class _Session:
    """One connection to one host, and how far it got."""

    def __init__(self, plan: Plan, host: Host, seconds: float, tls: bool) -> None:
        self.plan, self.host, self.tls, self.stage = plan, host, tls, "connect"
        self.implicit = host.tls.startswith("implicit")
        self.seconds = seconds
        self._transports: list[asyncio.BaseTransport | None] = []  # the client forgets what broke off
        self.talking = False  # it answered to the end, so a goodbye is due
        self.client = aiosmtplib.SMTP(
            hostname=host.hostname,
            port=host.port,
            local_hostname=plan.our_name,
            timeout=max(seconds, 0.01) + 1,  # ours is the one that rings
            start_tls=False,
            use_tls=self.implicit,
            tls_context=_context(host.tls == "implicit-ok") if self.implicit else None,
        )

    def outcome(self, ok: bool, reply: str) -> Outcome:
        return Outcome(ok, str(self.host), self.stage, " ".join(reply.split())[:LONGEST_REPLY])

    async def run(self) -> str:
        """The reply that shows that the host works. Raises what shows that it does not."""
        try:
            await self.client.connect()
        except aiosmtplib.SMTPConnectResponseError:
            self.stage = "banner"
            raise
        await self._greet()
        if self.tls and not self.implicit:
            await self._starttls()
        if self.host.username:
            self.stage = "auth"
            await sign_in(self.client, self.host, self.seconds)
        return await (self._hand_in() if self.plan.letter else self._ask())

    async def _ask(self) -> str:
        """Whether it takes mail for the recipient."""
        await self._mail()
        self.stage = "rcpt"
        encoding = "ascii" if self.plan.recipient.isascii() else "utf-8"
        try:
            response = await self.client.rcpt(self.plan.recipient, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as refused:
            self.talking = True
            if self.plan.strict or is_host_failure(refused.code, refused.message):
                raise
            return f"{refused.code} {refused.message}"
        self.talking = True
        return f"{response.code} {response.message}"

    async def _hand_in(self) -> str:
        """Send the letter. What became of it shows at its destination, so no bounce is wanted (RFC 3461)."""
        self.stage = "mail"
        await self.client.mail(self.plan.sender)
        self.stage = "rcpt"
        options = ["NOTIFY=NEVER"] if self.client.supports_extension("dsn") else []
        await self.client.rcpt(self.plan.recipient, options=options)
        self.stage = "data"
        response = await self.client.data(self.plan.letter)
        self.talking = True
        return f"{response.code} {response.message}"

    async def _greet(self) -> None:
        self.stage = "ehlo"
        self._transports.append(self.client.transport)
        try:
            await self.client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in (500, 502, 504):
                raise
            await self.client.helo()

    async def _mail(self) -> None:
        """From <>, which every server must take (RFC 5321 4.5.5), or else from the gateway's postmaster."""
        self.stage = "mail"
        try:
            await self.client.mail("")
        except aiosmtplib.SMTPSenderRefused as refused:
            if refused.code < 500:
                raise
            await self.client.rset()
            await self.client.mail(f"postmaster@{self.plan.our_name}")

    async def _starttls(self) -> None:
        if not self.client.supports_extension("starttls"):
            if self.host.tls != "opportunistic":
                self.stage = "starttls"
                raise _Failed("The server does not offer STARTTLS, which the route requires.")
            return
        self.stage = "starttls"
        await self.client.starttls(tls_context=_context(self.host.tls == "verified"))
        await self._greet()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if self.talking and self.client.is_connected:
                    await self.client.rset()
                    await self.client.quit()
        except (aiosmtplib.SMTPException, OSError):
            pass  # the answer is known; how it says goodbye does not matter
        finally:
            for transport in (*self._transports, self.client.transport):
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()  # TLS would wait for the other side's goodbye
            self.client.close()
            await asyncio.sleep(0)  # the loop closes sockets in its next round, which may be its last


@cache  # loading the system's certificates takes 20 ms
def _context(verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_host_failure(code: int, reply: str) -> bool:
    """Whether a refused `RCPT` of the only recipient means that the route does not work.

    4xx: yes, unless it is about this mailbox (4.1.x, 4.2.x; RFC 3463). 5xx: the server answers, so no,
    unless it says that it takes no mail at all or none from us (5.3.x, 5.4.x, 5.7.x; 521, 554, 556).
    """
    enhanced = re.match(r"\s*([245])\.(\d{1,3})\.\d{1,3}\b", reply)
    about = int(enhanced[2]) if enhanced else None
    if 400 <= code < 500:
        return code == 421 or about not in (1, 2)
    if code in (521, 556):
        return True
    return about in (3, 4, 7) if about is not None else code == 554
