"""One SMTP conversation of the demo mail server (RFC 5321, with PIPELINING and SMTPUTF8)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from continuity_site.demo.store import Mailbox, Mode

NAME = "demo.localhost"
MAX_SIZE = 50 * 1024 * 1024
MAX_LINE = 4096
MAX_RECIPIENTS = 1000
IDLE_SECONDS = 300.0
SLOW_SECONDS = 2.0
STORE_SECONDS = 0.15  # a good day, at a pace at which a drain can be watched
ALWAYS_TAKEN = ("postmaster", "abuse")

_PATH = re.compile(rb'(?i)(?:FROM|TO):\s*<((?:"(?:\\.|[^"\\])*"|[^<>"])*)>(?:\s+(.*))?\Z', re.DOTALL)
_EXTENSIONS = (NAME, "PIPELINING", f"SIZE {MAX_SIZE}", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8")
_UNKNOWN_COMMAND = "502 5.5.1 Command not known"


class _Hangup(Exception):  # noqa: N818  (a way out, not an error)
    """The client is gone, or has to go."""


@dataclass
class _Envelope:
    sender: str
    recipients: list[str] = field(default_factory=list)


class Session:
    """Speaks with one client until it leaves. `mode` is asked before each answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mailbox: Mailbox,
        mode: Callable[[], Mode],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._mailbox, self._mode = mailbox, mode
        self._buffer = bytearray()
        self._greeted = False
        self._envelope: _Envelope | None = None
        self._storing = False
        self._leaving = False

    async def run(self) -> None:
        try:
            await self._answer(f"220 {NAME} ESMTP demo mail server")
            while True:
                await self._command(await self._line())
        except (_Hangup, OSError, TimeoutError):
            pass
        finally:
            self._writer.close()

    def hang_up(self) -> None:
        """The server stops. What is being stored is still answered, lest its sender sends it again."""
        self._leaving = True
        if not self._storing:
            self._writer.transport.abort()

    async def _command(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"EHLO":
                await self._greet(_EXTENSIONS)
            case b"HELO":
                await self._greet((NAME,))
            case b"MAIL":
                await self._answer(self._mail(rest))
            case b"RCPT":
                await self._answer(self._rcpt(rest))
            case b"DATA":
                await self._data()
            case b"RSET":
                self._envelope = None
                await self._answer("250 2.0.0 Forgotten")
            case b"NOOP":
                await self._answer("250 2.0.0 Here")
            case b"VRFY":
                await self._answer("252 2.1.5 Send it and see")
            case b"QUIT":
                await self._answer("221 2.0.0 Goodbye")
                raise _Hangup
            case _:
                await self._answer(_UNKNOWN_COMMAND)

    async def _greet(self, lines: tuple[str, ...]) -> None:
        self._greeted, self._envelope = True, None
        marks = "-" * (len(lines) - 1) + " "
        await self._answer("\r\n".join(f"250{mark}{line}" for mark, line in zip(marks, lines, strict=True)))

    def _mail(self, rest: bytes) -> str:
        path = _PATH.match(rest)
        if not self._greeted or self._envelope:
            return "503 5.5.1 Not now"
        if not path:
            return "501 5.1.7 Sender not understood"
        if self._mode() == Mode.REFUSE4:
            return _FULL
        parameters = (path[2] or b"").upper().split()
        for parameter in parameters:
            name, _, value = parameter.partition(b"=")
            if name == b"SIZE" and value.isdigit() and int(value) > MAX_SIZE:
                return "552 5.3.4 Message too large"
            if name not in (b"SIZE", b"BODY", b"SMTPUTF8"):
                return "555 5.5.4 Parameter not known"
        self._envelope = _Envelope(_text(path[1]))
        return "250 2.1.0 Sender taken"

    def _rcpt(self, rest: bytes) -> str:
        path = _PATH.match(rest)
        if not self._envelope:
            return "503 5.5.1 Not now"
        if not path or not path[1]:
            return "501 5.1.3 Recipient not understood"
        if len(self._envelope.recipients) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        address = _text(path[1])
        if self._mode() == Mode.REFUSE4:
            return _FULL
        if self._mode() == Mode.REFUSE5 and address.partition("@")[0].lower() not in ALWAYS_TAKEN:
            return "550 5.1.1 No such mailbox here"
        self._envelope.recipients.append(address)
        return "250 2.1.5 Recipient taken"

    async def _data(self) -> None:
        envelope = self._envelope
        if not envelope or not envelope.recipients:
            await self._answer("554 5.5.1 No recipient" if envelope else "503 5.5.1 Not now")
            return
        if self._mode() == Mode.REFUSE4:
            await self._answer(_FULL)
            return
        await self._answer("354 End with a line that is a dot")
        data = await self._content()
        self._envelope = None
        if data is None:
            await self._answer("552 5.3.4 Message too large")
            return
        self._storing = True
        try:
            await asyncio.sleep(STORE_SECONDS)
            row = await asyncio.to_thread(
                self._mailbox.add, datetime.now(UTC), envelope.sender, envelope.recipients, data
            )
        except OSError:
            await self._answer("451 4.3.0 Could not be stored")
        else:
            await self._answer(f"250 2.0.0 Kept as {row.number}")
        finally:
            self._storing = False
        if self._leaving:
            raise _Hangup

    async def _content(self) -> bytes | None:
        """The message up to CRLF.CRLF, dots unstuffed; None, after reading to its end, when too large."""
        data = bytearray(b"\r\n")  # so that a dot in the first line is one after CRLF as well
        searched, too_large = 0, False
        while True:
            data += self._buffer
            self._buffer.clear()
            end = data.find(b"\r\n.\r\n", searched)
            if end >= 0:
                self._buffer += data[end + 5 :]
                content = bytes(data[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
                return None if too_large or len(content) > MAX_SIZE else content
            if len(data) > 2 * MAX_SIZE:
                too_large = True
                del data[:-4]
            searched = max(0, len(data) - 4)
            await self._fill()

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                await self._answer("500 5.5.2 Line too long")
                raise _Hangup
            await self._fill()
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    async def _fill(self) -> None:
        async with asyncio.timeout(IDLE_SECONDS):
            chunk = await self._reader.read(256 * 1024)
        if not chunk:
            raise _Hangup
        self._buffer += chunk

    async def _answer(self, reply: str) -> None:
        if self._mode() == Mode.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        self._writer.write(f"{reply}\r\n".encode())
        await self._writer.drain()


_FULL = "451 4.3.1 Insufficient system storage"


def _text(address: bytes) -> str:
    return address.decode("utf-8", "replace")
