"""The demo mail server's files: its mode, the mail it took, and an index of that mail.

Shared by the server process and by `control`, so it knows no Django.

    DATA_DIR/demo/mode           one word, replaced atomically
    DATA_DIR/demo/mail/<n>.eml   the bytes as they came, the newest 2,000
    DATA_DIR/demo/index.jsonl    one line a message; its number is the count of all ever taken
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser
from enum import StrEnum
from pathlib import Path
from typing import Any

KEEP = 2000
HEADER_LIMIT = 64 * 1024


class Mode(StrEnum):
    """How the demo mail server behaves."""

    UP = "up"
    STOPPED = "stopped"
    SLOW = "slow"
    REFUSE4 = "refuse4"
    REFUSE5 = "refuse5"


@dataclass(frozen=True)
class Received:
    """A message that the demo mail server took. `at` is aware UTC, `size` is in bytes."""

    at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    size: int
    number: int = 0


def read_mode(directory: Path) -> Mode:
    """The mode that was set last, `up` when none was or the file says something else."""
    try:
        return Mode((directory / "mode").read_text().strip())
    except (OSError, ValueError):
        return Mode.UP


def write_mode(directory: Path, mode: Mode) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    _replace(directory / "mode", f"{mode}\n".encode())


def read_index(directory: Path, limit: int) -> list[Received]:
    """The newest messages first, at most `limit`; reads the end of the index only."""
    return [_parsed(line) for line in reversed(_last_lines(directory / "index.jsonl", limit))]


class Mailbox:
    """Takes mail durably. One process writes at a time; several threads of it may."""

    def __init__(self, directory: Path, keep: int = KEEP) -> None:
        self._mail = directory / "mail"
        self._index = directory / "index.jsonl"
        self._keep = keep
        self._lock = threading.Lock()
        self._mail.mkdir(parents=True, exist_ok=True)
        lines = _last_lines(self._index, keep)
        _replace(self._index, b"".join(lines))  # drops a line that a crash left half-written
        self._rows = len(lines)
        self._number = _parsed(lines[-1]).number if lines else 0
        self._remove_strays()

    def add(self, at: datetime, sender: str, recipients: Sequence[str], data: bytes) -> Received:
        """Store a message; on return it is on disk and counted. Raises OSError when it could not be."""
        subject, message_id = _headers(data)
        with self._lock:
            number = self._number + 1
            row = Received(at, sender, tuple(recipients), subject, message_id, len(data), number)
            _write(self._mail / f"{number}.eml", data, os.O_TRUNC)
            _write(self._index, _line(row), os.O_APPEND)
            self._number = number
            self._rows += 1
            (self._mail / f"{number - self._keep}.eml").unlink(missing_ok=True)
            if self._rows >= 2 * self._keep:
                _replace(self._index, b"".join(_last_lines(self._index, self._keep)))
                self._rows = self._keep
        return row

    def _remove_strays(self) -> None:
        """Files without an index line were never acknowledged: their sender sends them again."""
        for path in self._mail.iterdir():
            number = int(path.stem) if path.stem.isdecimal() else 0
            if not self._number - self._keep < number <= self._number:
                path.unlink()


def _line(row: Received) -> bytes:
    return json.dumps(asdict(row) | {"at": row.at.isoformat()}).encode() + b"\n"


def _parsed(line: bytes) -> Received:
    row: dict[str, Any] = json.loads(line)
    return Received(**row | {"at": datetime.fromisoformat(row["at"]), "recipients": tuple(row["recipients"])})


def _headers(data: bytes) -> tuple[str, str]:
    """Subject and Message-ID as far as they can be read; a broken message has empty ones."""
    head = data[:HEADER_LIMIT].partition(b"\r\n\r\n")[0]
    try:
        headers = BytesHeaderParser().parsebytes(head)
        message_id = str(headers.get("Message-ID", "")).strip()
        subject = str(make_header(decode_header(headers.get("Subject", ""))))
    except (LookupError, ValueError, RecursionError):
        return "", ""
    return _plain(subject), _plain(message_id)


def _plain(text: str) -> str:
    """Without line breaks and without the stand-ins for undecodable bytes, which no file takes."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:255]


def _last_lines(path: Path, limit: int) -> list[bytes]:
    """The last complete lines of a file, oldest first, each with its newline."""
    if limit < 1:
        return []
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            block = 64 * 1024
            while True:
                start = max(0, end - block)
                file.seek(start)
                data = file.read(end - start)
                if start == 0 or data.count(b"\n") > limit:
                    break
                block *= 4
    except FileNotFoundError:
        return []
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)[-limit:]


def _write(path: Path, data: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one, never half of it."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    _write(new, data, os.O_TRUNC)
    new.replace(path)
