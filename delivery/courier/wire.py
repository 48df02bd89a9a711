"""What goes over a connection: commands out, in groups if need be, and the replies to them.

aiosmtplib connects, greets, starts TLS and signs in; then this takes over its transport. Its own protocol
holds one reply at a time and drops what comes behind it, so it cannot read the replies to a group of
commands (RFC 2920), and it needs a lock, a future and a time-out's task for each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from aiosmtplib import SMTPException, SMTPResponse, SMTPServerDisconnected

MOST_OF_A_REPLY = 32 * 1024  # bytes, all its lines together; a reply to EHLO has a few hundred


class OutOfStep(SMTPException):
    """The server said what is no reply, or what nobody had asked for."""


class Wire(asyncio.Protocol):
    """`usable` is False once there was trouble, or a 421; nothing new may be begun then."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._lines: list[bytes] = []  # of a reply whose last line has not come
        self._replies: deque[SMTPResponse] = deque()
        self._due = 0  # replies that will come to what was written
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._trouble: Exception | None = None
        self.usable = True
        transport.set_protocol(self)
        if transport.is_closing():
            self.connection_lost(None)

    @property
    def out_of_step(self) -> bool:
        return isinstance(self._trouble, OutOfStep)

    def write(self, data: bytes | memoryview, replies: int = 1) -> None:
        """Send, and expect so many replies. Raises the trouble that there is, before anything is sent."""
        if self._trouble:
            raise self._trouble
        self._due += replies
        self._transport.write(data)

    async def read(self, seconds: float) -> SMTPResponse:
        """The next reply. Raises TimeoutError, OutOfStep, SMTPServerDisconnected, but replies come first."""
        while not self._replies:
            if self._trouble:
                raise self._trouble
            await self._wait(seconds, "The server did not answer in time.")
        reply = self._replies.popleft()
        if reply.code == 421:
            self.usable = False
        return reply

    @property
    def answered(self) -> bool:
        """A reply waits to be read, or there will be none."""
        return bool(self._replies or self._trouble)

    async def drained(self, seconds: float) -> bool:
        """Wait until the server has taken what was written: True; or has answered before, or is gone."""
        while self._paused and not self.answered:
            await self._wait(seconds, "The server stopped reading the content.")
        return not self._paused

    def close(self) -> None:
        """After what was written has been sent."""
        self.usable = False
        self._transport.close()

    def abort(self) -> None:
        """Now. A server that reads nothing would keep what is not sent yet for ever."""
        self.usable = False
        self._transport.abort()

    async def _wait(self, seconds: float, otherwise: str) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._fail, TimeoutError(otherwise))
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, trouble: Exception) -> None:
        """The first trouble is the one that counts."""
        if not self._trouble:
            self._trouble, self.usable = trouble, False
        self._wake()

    # --- What the transport calls ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._trouble:
            return
        self._buffer += data
        begin = 0
        while (end := self._buffer.find(b"\n", begin) + 1) and not self._trouble:
            self._take(bytes(self._buffer[begin:end]))
            begin = end
        del self._buffer[:begin]
        if len(self._buffer) + sum(map(len, self._lines)) > MOST_OF_A_REPLY:
            self._fail(OutOfStep("The server's reply has no end."))
        if self._replies:
            self._wake()

    def _take(self, line: bytes) -> None:
        """One line of a reply (RFC 5321 4.2)."""
        if not line[:3].isdigit():
            words = line.decode("utf-8", "replace").strip()
            self._fail(OutOfStep(f"What the server said is no SMTP reply: {words}"))
            return
        self._lines.append(line[4:].strip())
        if line[3:4] == b"-":
            return
        text = b"\n".join(self._lines).decode("utf-8", "surrogateescape")
        self._lines.clear()
        if not self._due:
            self._fail(OutOfStep(f"The server said what nobody had asked for: {line[:3].decode()} {text}"))
            return
        self._due -= 1
        self._replies.append(SMTPResponse(int(line[:3]), text))

    def eof_received(self) -> bool:
        self._fail(SMTPServerDisconnected("The server closed the connection."))
        return False  # closes ours, too

    def connection_lost(self, error: Exception | None) -> None:
        words = f"The connection was cut: {error}" if error else "The server closed the connection."
        self._fail(SMTPServerDisconnected(words))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()


def taken_over(transport: asyncio.BaseTransport | None) -> Wire:
    """The wire over an open transport. Raises SMTPServerDisconnected where there is none any more."""
    if transport is None:
        raise SMTPServerDisconnected("The server closed the connection.")
    return Wire(cast(asyncio.Transport, transport))
