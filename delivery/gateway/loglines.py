"""Log lines of one turn of the event loop leave together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any


class _Together:
    """A stream for a log handler. Each write of its own lets other threads go first, in the middle of a turn.

    Lines from other threads are written at once.
    """

    def __init__(self, stream: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._stream, self._loop = stream, loop
        self._thread = threading.get_ident()
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        if threading.get_ident() != self._thread:
            self._stream.write(line)
            self._stream.flush()
            return
        if not self._lines:
            self._loop.call_soon(self.let_go)
        self._lines.append(line)

    def flush(self) -> None:
        """What the handler calls after each line: they leave at the end of the turn."""

    def let_go(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        with contextlib.suppress(OSError):  # nobody reads it: no reason to stop
            self._stream.write("".join(lines))
            self._stream.flush()


@contextlib.contextmanager
def lines_together() -> Iterator[None]:
    """Inside the running loop: its log lines are written once for each turn, all of them by the end."""
    streams = []
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            together = _Together(handler.stream, asyncio.get_running_loop())
            streams.append((handler, handler.setStream(together), together))
    try:
        yield
    finally:
        for handler, stream, together in streams:
            handler.setStream(stream)
            together.let_go()
