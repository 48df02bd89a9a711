"""Who this courier is: a slot of this host, held by a lock that the kernel frees when the process dies."""

from __future__ import annotations

import fcntl
import os
import socket
import zlib
from pathlib import Path

SLOTS = 64


class Identity:
    """The first free slot. The name comes back with it: a restarted courier finds its claims."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for slot in range(SLOTS):
            handle = os.open(directory / f"courier-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            self.slot, self._handle = slot, handle
            break
        else:
            raise RuntimeError(f"{SLOTS} couriers run in {directory} already")
        # Two installations of one host may share a PostgreSQL: the directory tells them apart.
        place = zlib.crc32(str(directory.resolve()).encode())
        self.name = f"{socket.gethostname()[:40]}/{place:08x}/{self.slot}"

    def close(self) -> None:
        os.close(self._handle)
