"""A real SMTP relay on loopback, for alert mail: keeps what it got, answers as told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Mail:
    """One mail as it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def parsed(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def text(self) -> str:
        body = self.parsed.get_body(("plain",))
        assert body is not None
        return str(body.get_content())


class Relay:
    """What the relay got, and how it answers: `at_rcpt`, `at_data`; or not at all, with `hang_at`.

    `hang_at` is "rcpt" or "data" (the whole message was taken then), `drop_at` closes there instead.
    """

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Mail] = []
        self.refused: list[str] = []
        self.at_rcpt = "250 2.1.5 Ok"
        self.at_data = "250 2.0.0 Ok: queued as 4XyZ"
        self.hang_at = self.drop_at = ""
        self.got = threading.Event()
        self.connections: list[Any] = []  # one for each message that was begun

    @property
    def url(self) -> str:
        """An ALERT_EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.port}"

    def recover(self) -> None:
        self.at_rcpt, self.at_data, self.hang_at, self.drop_at = "250 2.1.5 Ok", "250 2.0.0 Ok", "", ""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.connections.append(server.transport)
        await self._misbehave("rcpt", server)
        if self.at_rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        else:
            self.refused.append(address)
        return self.at_rcpt

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        if self.at_data.startswith("250"):
            mail = Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content)
            self.received.append(mail)
        self.got.set()
        await self._misbehave("data", server)
        return self.at_data

    def hang_up(self) -> None:
        """End all connections, as relays do with idle ones."""
        for transport in set(self.connections):
            transport._loop.call_soon_threadsafe(transport.abort)

    async def _misbehave(self, stage: str, server: SMTP) -> None:
        if self.drop_at == stage:
            transport: Any = server.transport
            transport.abort()
        if self.hang_at == stage:
            await asyncio.Event().wait()


@contextmanager
def relay() -> Iterator[Relay]:
    """A relay on a free port, until the end of the block."""
    state = Relay()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(state, hostname="relay.test", loop=loop), "127.0.0.1", 0)
    )
    state.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(_closed(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _closed(server: asyncio.Server) -> None:
    """Close the server and end what its sessions are at."""
    server.close()
    sessions = asyncio.all_tasks() - {asyncio.current_task()}
    for session in sessions:
        session.cancel()
    await asyncio.gather(*sessions, return_exceptions=True)
