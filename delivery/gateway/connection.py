"""One client's connection, on the connection handling of aiosmtpd.

aiosmtpd inspects itself for every connection, writes each reply alone and has few limits: what is here
replaces that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from aiosmtpd.smtp import SMTP, Session

from delivery.gateway.refusal import CLOSING

if TYPE_CHECKING:
    from delivery.gateway.server import Gateway

log = logging.getLogger(__name__)

_BUFFER = 64 * 1024
SLOWEST = 500  # bytes a second; data that comes slower runs into the idle time


class _Reader(asyncio.StreamReader):
    """A stream reader whose buffer can be looked at: asyncio offers no way to, and `_buffer` is old."""

    _buffer: bytearray
    _eof: bool
    _transport: asyncio.Transport
    _maybe_resume_transport: Callable[[], None]
    _wait_for_data: Callable[[str], Awaitable[None]]

    def take_line(self) -> bytes | None:
        """A whole line that is here already, with its line end. `readuntil` takes three times as long."""
        buffer = self._buffer
        end = buffer.find(b"\n") + 1
        if not 0 < end <= _BUFFER:
            return None
        line = bytes(memoryview(buffer)[:end])
        del buffer[:end]
        self._maybe_resume_transport()
        return line

    async def wait(self) -> None:
        """Until something is here, or the client has gone."""
        if not self._buffer and not self._eof:
            await self._wait_for_data("wait")

    def put_back(self, data: bytes) -> None:
        self._buffer[:0] = data

    def discard(self) -> None:
        self._buffer.clear()


class SmtpConnection(SMTP):
    """A client's connection: bytes in as command lines, replies out, limits, time-outs, TLS.

    What the commands do is for `session` to say.
    """

    _reader: _Reader
    _writer: asyncio.StreamWriter
    _paused: bool
    _connection_lost: bool

    def __init__(self, gateway: Gateway) -> None:
        # Not SMTP.__init__: it inspects handler and self for every connection, a fifth of all the work.
        loop = gateway.loop
        asyncio.StreamReaderProtocol.__init__(
            self, _Reader(limit=_BUFFER, loop=loop), client_connected_cb=self._cb_client_connected, loop=loop
        )
        self.loop = loop
        self.session: Session | None = None
        self.transport: asyncio.Transport | None = None
        self._original_transport = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._gateway = gateway
        self._replies: list[str] = []
        self._deadline = 0.0
        self._counted = self._committing = self._quitting = False
        self._at_work = False  # the client waits for us, not we for the client
        self.tls = self.cipher = ""
        self.address = ""

    # --- The connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0].partition("%")[0].removeprefix("::ffff:") if peer else ""
        refused = CLOSING if self._gateway.stopping else self._gateway.connections.enter(self.address)
        if refused:
            log.info("refused %s: %s", self.address, refused)
            transport.write(f"{refused}\r\n".encode())
            transport.close()
            return
        self._counted = True
        self._gateway.sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._counted:
            return
        self._counted = False
        self._gateway.connections.leave(self.address)
        self._gateway.sessions.discard(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._counted:
            super().data_received(data)

    def eof_received(self) -> bool:
        """The client sends no more; what it sent before is still answered, unless TLS forbids it."""
        if not self._counted:
            return False
        asyncio.StreamReaderProtocol.eof_received(self)
        return not self.tls

    def _set_rset_state(self) -> None:
        """Forget the mail transaction."""
        raise NotImplementedError

    async def _answer(self, line: bytes) -> None:
        """Answer one command line. An empty `line` stands for one that was too long."""
        raise NotImplementedError

    def _reset_timeout(self, duration: float | None = None) -> None:
        self._deadline = self.loop.time() + (duration or self._gateway.limits.idle)
        if self._timeout_handle is None:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self._at_work:
            self._reset_timeout()
        if self.loop.time() < self._deadline:
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
        else:
            self._hang_up("421 4.4.2 Idle for too long")

    def _extend_deadline(self, received: int) -> None:
        """Data keeps the connection alive, but not a byte now and then."""
        latest = self.loop.time() + self._gateway.limits.idle
        self._deadline = min(latest, self._deadline + received / SLOWEST)

    def _hang_up(self, reply: str) -> None:
        """Close now; the reply is sent if the client takes it at once."""
        if self.transport is None or self.transport.is_closing():
            return
        log.info("closed %s: %s", self.address, reply)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        self.transport.write("".join([*self._replies, f"{reply}\r\n"]).encode())
        self._replies.clear()
        self.transport.close()

    def shut_down(self) -> None:
        """The gateway stops: end the dialogue, unless a commit is on its way; then after its answer."""
        if not self._committing:
            self._hang_up(CLOSING)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # --- The dialogue -------------------------------------------------------------------------------

    def _say(self, reply: str) -> None:
        self._replies.append(f"{reply}\r\n")

    async def _flush(self) -> None:
        if self._replies:
            self._writer.write("".join(self._replies).encode())
            self._replies.clear()
            if self._paused or self._connection_lost:  # rare, and a coroutine costs
                await self._writer.drain()

    async def _handle_client(self) -> None:
        try:
            self._say(f"220 {self._gateway.name} ESMTP Continuity")
            while not self._quitting:
                line = await self._read_line()
                if line is None:
                    break
                self._at_work = True
                await self._answer(line)
                self._at_work = False
                self._reset_timeout()
                if self._gateway.stopping and not self._quitting:
                    self._say(CLOSING)
                    break
            await self._flush()
        except OSError:
            log.debug("%s hung up", self.address)
        finally:
            if self.transport is not None:
                self.transport.close()

    async def _read_line(self) -> bytes | None:
        """The next command without its line end; None when the client has gone.

        Replies leave only when no further command is at hand: those of a pipelined group together.
        """
        reader = self._reader
        whole = reader.take_line()
        if whole is None:
            await self._flush()
            await reader.wait()
            whole = reader.take_line()
        if whole is not None:
            return self._command(whole)
        too_long = False
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                too_long = True
                await reader.read(error.consumed)
            except asyncio.IncompleteReadError:
                return None
            else:
                return b"" if too_long else self._command(line)

    def _command(self, line: bytes) -> bytes:
        """A line as a command: without its end, empty when it is too long, never empty otherwise."""
        self._reset_timeout()
        return b"" if len(line) > self._gateway.limits.line else line.rstrip(b"\r\n") or b" "

    # --- TLS ----------------------------------------------------------------------------------------

    async def _start_tls(self, reply: str) -> None:
        """Say `reply` and change to TLS. Raises ConnectionError when that fails: the client must go."""
        self._at_work = False
        await self._flush()
        assert self.transport is not None
        self._reset_timeout(self._gateway.limits.handshake + 5)
        # What came in plain text behind the command is not ours to obey (RFC 3207 section 5). From here
        # to the moment start_tls takes over the connection nothing else runs.
        self._reader.discard()
        self._writer.write(f"{reply}\r\n".encode())
        try:
            transport = await self.loop.start_tls(
                self.transport,
                self,
                self._gateway.tls,
                server_side=True,
                ssl_handshake_timeout=self._gateway.limits.handshake,
            )
        except (OSError, RuntimeError) as error:  # ssl.SSLError is an OSError; uvloop's closed is not
            log.info("no TLS with %s: %s", self.address, error)
            raise ConnectionAbortedError from error
        if transport is None:
            raise ConnectionAbortedError
        self._over_ssl = True
        self.transport = self._transport = transport
        self._reader._transport = transport
        self._writer._transport = transport  # type: ignore[attr-defined]
        ssl_object = transport.get_extra_info("ssl_object")
        self.tls, self.cipher = ssl_object.version(), ssl_object.cipher()[0]
