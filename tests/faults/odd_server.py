"""A mail server that speaks SMTP up to one stage, and there does what no mail server should.

    with OddServer() as server:
        server.oddity = ("banner", endless_line)
        ...
        server.behave()

Stages: banner, ehlo, mail, rcpt, data, body (after 354), end (after the dot).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Oddity = Callable[["Talk"], None]

MOST = 64 * 1024 * 1024  # bytes that an endless reply has at most, so that a test ends


class Gone(Exception):  # noqa: N818
    """The client has hung up, or we have."""


class Talk:
    """One connection, as an oddity sees it."""

    def __init__(self, connection: socket.socket, server: OddServer) -> None:
        self.connection, self.server = connection, server
        self.lines = connection.makefile("rb")

    def say(self, data: bytes) -> None:
        """Raises Gone when the client does not listen any more."""
        try:
            self.connection.sendall(data)
        except OSError:
            raise Gone from None
        self.server.said += len(data)

    def reset(self) -> None:
        """End the connection by RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def line(self) -> bytes:
        try:
            line = self.lines.readline()
        except OSError:
            raise Gone from None
        if not line:
            raise Gone
        return line


class OddServer:
    """`arrived` counts Message-IDs of what was answered with 250 or kept, `said` the bytes it sent."""

    def __init__(self) -> None:
        self.oddity: tuple[str, Oddity] | None = None
        self.arrived: Counter[str] = Counter()
        self.connections = 0
        self.said = 0
        self.relieved = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> OddServer:
        self._threads.append(threading.Thread(target=self._listen, daemon=True))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def behave(self) -> None:
        """No oddity any more, from the next connection on."""
        self.oddity = None
        self.relieved.set()

    def clients(self) -> int:
        """Sockets of this machine that a process still holds connected to this server."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        # Remote address, and the inode: 0 when no process has the socket any more.
        return sum(int(row[2].partition(":")[2], 16) == self.port and row[9] != "0" for row in rows)

    def keep(self, content: list[bytes]) -> None:
        """What a server does when it takes a message."""
        self.arrived[content[0].decode().partition(": ")[2].strip()] += 1

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        talk = Talk(connection, self)
        with contextlib.suppress(Gone), connection, talk.lines:
            self._dialogue(talk)
        self._open.discard(connection)

    def _dialogue(self, talk: Talk) -> None:
        self._answer(talk, "banner", b"220 odd.example ESMTP")
        while True:
            verb = talk.line()[:4].upper()
            if verb == b"DATA":
                self._answer(talk, "data", b"354 Go on")
                self._answer(talk, "body", b"")
                self.content = list(iter(talk.line, b".\r\n"))
                self._answer(talk, "end", b"250 2.0.0 Ok", keep=True)
            elif verb == b"QUIT":
                talk.say(b"221 2.0.0 Bye\r\n")
                return
            else:
                self._answer(talk, verb.decode().lower(), b"250 2.0.0 Ok")

    def _answer(self, talk: Talk, stage: str, friendly: bytes, *, keep: bool = False) -> None:
        if self.oddity and self.oddity[0] == stage:
            self.oddity[1](talk)
        elif friendly:
            if keep:
                self.keep(self.content)
            talk.say(friendly + b"\r\n")


# --- Oddities -------------------------------------------------------------------------------------------


def _endless(part: bytes) -> Oddity:
    def oddity(talk: Talk) -> None:
        for _ in range(MOST // len(part)):
            talk.say(part)

    return oddity


endless_line = _endless(b"2" * 4096)
endless_reply = _endless(b"220-and so on\r\n" * 100)
endless_bytes = _endless(bytes(range(256)) * 16)


def saying(reply: bytes) -> Oddity:
    """Answers so, and goes on as if that had been fine."""
    return lambda talk: talk.say(reply)


def byte_by_byte(reply: bytes, seconds: float) -> Oddity:
    """One byte, a pause of so many seconds, the next byte."""

    def oddity(talk: Talk) -> None:
        for number in range(len(reply)):
            talk.say(reply[number : number + 1])
            time.sleep(seconds)

    return oddity


def kept_and_reset(talk: Talk) -> None:
    """The message is taken; the connection is reset before the 250."""
    talk.server.keep(talk.server.content)
    talk.reset()


def reset(talk: Talk) -> None:
    talk.reset()


def deaf(talk: Talk) -> None:
    """Reads nothing any more and says nothing, but keeps the connection."""
    talk.server.relieved.wait(30)
    raise Gone
