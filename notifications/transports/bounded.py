"""What knows no time-out of its own gets one."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from django.utils.translation import gettext as _

T = TypeVar("T")

# What is read of one answer; nobody looks at more.
ANSWER_BYTES = 64 * 1024


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, or TimeoutError: it then goes on in a thread that ends with the process."""
    results: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except Exception as error:  # raised again where it is waited for
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


class Received(io.RawIOBase):
    """What a socket receives, however slowly the other side drips and however much it says.

    `in_time` gives the socket with its time-out set to what is left, or raises TimeoutError. `room` is how
    many bytes may still come; then it raises OSError.
    """

    def __init__(self, in_time: Callable[[], socket.socket], room: float = float("inf")) -> None:
        self._in_time, self.room = in_time, room

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.room <= 0:
            raise OSError(_("the answer has no end"))
        count = self._in_time().recv_into(buffer)
        self.room -= count
        return count
