"""The gateway says "there is something": a datagram on a Unix socket. Without it the courier polls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

PATH_LIMIT = 107  # bytes of a Unix socket's path


class NudgeListener(asyncio.DatagramProtocol):
    """Calls `wake` at each datagram. Only the courier of the first slot listens; the others poll."""

    def __init__(self, path: Path, wake: Callable[[], None]) -> None:
        self.path, self.wake = path, wake
        self.transport: asyncio.BaseTransport | None = None

    async def open(self) -> None:
        """Listen; a socket left by a killed predecessor is replaced. Failing is logged, not fatal."""
        if len(bytes(self.path)) > PATH_LIMIT:
            logger.warning("No nudges: the path %s is too long for a socket", self.path)
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self.path.unlink(missing_ok=True)
            listener.bind(str(self.path))
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listener)
        except OSError as error:
            listener.close()
            logger.warning("No nudges: %s", error)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.wake()

    def close(self) -> None:
        if self.transport:
            self.transport.close()
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
