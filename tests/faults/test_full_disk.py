"""The disk that holds the database is full, and then has space again. A small file system of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from delivery.models import Message, MessageContent, Recipient
from tests.faults.databases import migrate, used_by_this_test
from tests.faults.mailpath import MailPath, goes_on, the_books_balance
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, organisation
from tests.support.gateway import Client
from tests.support.mailserver import MailServer
from tests.support.processes import Processes, wait_until

pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") == "postgres",
    reason="with PostgreSQL the disk is that of its server; see docs/faults.md",
)

MEGABYTES = 24


def _run(*command: str) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)):
        pytest.skip("may not mount a file system here: run as root to fill a disk")
    try:
        yield disk
    finally:
        # Lazily: a process that is still ending must not keep it.
        assert _run("umount", "-l", str(disk))


def fill(disk: Path) -> Path:
    """Take all that is left, to the last byte."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_mail_is_put_off_while_it_is_full_and_goes_on_after(
    disk: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    database = disk / "continuity.sqlite3"
    url = f"sqlite:///{database}"
    migrate(url, disk)
    large = b"Message-ID: <large@else.example>\r\n\r\n" + (b"x" * 70 + b"\r\n") * 80_000 + b".\r\n"
    with (
        used_by_this_test(django_db_blocker, NAME=str(database)),
        MailServer() as server,
        Processes(tmp_path / "logs", DATA_DIR=str(disk)) as processes,
    ):
        world = organisation(server.port)
        path = MailPath(processes, url)
        path.start()
        with PatientSenders(path.smtp_port, ADDRESSES, 3) as senders, Client(path.smtp_port) as client:
            goes_on(senders, server)
            ballast = fill(disk)
            answer = client.mail(large, ADDRESSES[0])
            assert answer[:3] in ("451", "452"), answer
            tried, accepted = sum(senders.tries.values()), len(senders.accepted)
            wait_until(lambda: sum(senders.tries.values()) > tried + 30, "they try", 30)
            # Short ones may still have found room in what the database had taken before.
            assert sum(senders.tries.values()) - tried > len(senders.accepted) - accepted + 20
            assert path.alive()
            ballast.unlink()
            assert client.mail(large, ADDRESSES[0]).startswith("250")
            senders.tries["<large@else.example>"] = 2
            goes_on(senders, server)
        wait_until(lambda: not Recipient.objects.waiting().exists(), "the queue is drained", 30)
        the_books_balance(senders, server, world)
        # Nothing half-stored: every message has its content and its recipients.
        assert Message.objects.filter(message_id="<large@else.example>").count() == 1
        assert Message.objects.count() == MessageContent.objects.count() == Recipient.objects.count()
        assert path.alive()
