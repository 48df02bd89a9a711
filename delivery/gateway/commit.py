"""Group commit: messages that arrive together share one transaction."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from delivery.gateway.batches import refresh_connection
from delivery.services import NewMessage, accept

log = logging.getLogger(__name__)

# One SMTP transaction: a message for two accounts is one NewMessage for each, and both or none is stored.
Parcel = tuple[NewMessage, ...]

# After a batch failed its parcels are tried one by one, but not for longer than this: clients wait.
RETRY_SECONDS = 10


def weigh(parcel: Parcel) -> int:
    return sum(len(message.data) for message in parcel)


class Committer:
    """Stores parcels; `committed` is called after each commit."""

    def __init__(self, committed: Callable[[], None]) -> None:
        self._committed = committed

    def __call__(self, parcels: Sequence[Parcel]) -> list[bool | Exception]:
        """Store all in one transaction, or, when that fails, each in its own, once."""
        began = time.monotonic()
        try:
            accept([message for parcel in parcels for message in parcel])
        except Exception as error:
            log.error("%d messages not committed: %s", len(parcels), type(error).__name__)
            log.debug("the failed commit", exc_info=True)
            if len(parcels) == 1:
                return [error]
            return [self._one(parcel, error, began) for parcel in parcels]
        self._committed()
        return [True] * len(parcels)

    def _one(self, parcel: Parcel, error: Exception, began: float) -> bool | Exception:
        if time.monotonic() - began > RETRY_SECONDS:
            return error
        refresh_connection()
        try:
            accept(parcel)
        except Exception as own_error:
            log.error("a message not committed: %s", type(own_error).__name__)
            return own_error
        self._committed()
        return True


class Nudge:
    """Tells the courier that there is mail: an empty datagram to its socket. It polls without it, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __call__(self) -> None:
        """Never raises, never waits."""
        try:
            self._send()
        except OSError:
            return

    def _send(self) -> None:
        if len(os.fsencode(self._path)) <= 107:
            self._socket.sendto(b"", str(self._path))
            return
        # A Unix socket's path has at most 107 bytes; by way of its directory it is short.
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.sendto(b"", f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)

    def close(self) -> None:
        self._socket.close()
