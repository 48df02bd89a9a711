"""The disk that holds the database is full, and then has space again. A small file system of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from delivery.models import Message, MessageContent, Recipient
from tests.faults.databases import PrivatePostgres, for_others, migrate, options_for, used_by_this_test
from tests.faults.mailpath import MailPath, drains, goes_on, puts_off, the_books_balance
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, organisation
from tests.support.gateway import Client
from tests.support.mailserver import MailServer
from tests.support.processes import Processes, wait_until

POSTGRES = os.environ.get("TEST_DATABASE") == "postgres"
MEGABYTES = 128 if POSTGRES else 24


def _run(*command: str) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=False).returncode == 0


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small file system."""
    with for_others() as disk:
        if not _run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)):
            pytest.skip("may not mount a file system here: run as root to fill a disk")
        try:
            yield disk
        finally:
            # Lazily: a process that is still ending must not keep it.
            assert _run("umount", "-l", str(disk))


@dataclass(frozen=True)
class Stored:
    """A database on the small disk.

    `crash` is what PostgreSQL does when its log can grow no further, `revive` what its administrator does
    when there is space again. SQLite knows neither.
    """

    url: str
    crash: Callable[[], object] | None = None
    revive: Callable[[], object] = lambda: None


@pytest.fixture
def stored(disk: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Stored]:
    with contextlib.ExitStack() as ending:
        if POSTGRES:
            server = ending.enter_context(PrivatePostgres(disk / "postgres"))
            stored = Stored(server.url, lambda: crash(server), server.start)
            options = options_for(server.url)
        else:
            options = {"NAME": str(disk / "continuity.sqlite3")}
            stored = Stored(f"sqlite:///{options['NAME']}")
        migrate(stored.url, disk)
        ending.enter_context(used_by_this_test(django_db_blocker, **options))
        yield stored


def crash(server: PrivatePostgres) -> None:
    """Have PostgreSQL begin another file of its log: it panics, and ends when it cannot recover either."""

    def pushed_over() -> bool:
        # Until it is gone: one that is still recovering would be taken for started, and end after that.
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(server.url, autocommit=True) as found,
        ):
            found.execute("SELECT pg_logical_emit_message(true, '', 'x')")
            found.execute("SELECT pg_switch_wal()")
        return not server.running

    wait_until(pushed_over, "PostgreSQL ends", 60)


def fill(disk: Path) -> Path:
    """Take all that is left, to the last byte."""
    ballast = disk / "ballast"
    for size in (1 << 20, 4096):
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(size)) == size:
                pass
    return ballast


def test_mail_is_put_off_while_it_is_full_and_goes_on_after(
    disk: Path, stored: Stored, tmp_path: Path
) -> None:
    large = b"Message-ID: <large@else.example>\r\n\r\n" + (b"x" * 70 + b"\r\n") * 80_000 + b".\r\n"
    with MailServer() as server, Processes(tmp_path / "logs", DATA_DIR=str(disk)) as processes:
        world = organisation(server.port)
        path = MailPath(processes, stored.url)
        path.start()
        with PatientSenders(path.smtp_port, ADDRESSES, 3) as senders, Client(path.smtp_port) as client:
            goes_on(senders, server)
            ballast = fill(disk)
            answer = client.mail(large, ADDRESSES[0])
            assert answer[:3] in ("451", "452"), answer
            tried, accepted = sum(senders.tries.values()), len(senders.accepted)
            # Short ones may still find room in what the database had taken before, for a while.
            wait_until(
                lambda: sum(senders.tries.values()) - tried > len(senders.accepted) - accepted + 20,
                "they are put off",
                60,
            )
            if stored.crash:
                connection.close()
                stored.crash()
                puts_off(client)
            assert path.alive()
            ballast.unlink()
            stored.revive()
            goes_on(senders, server)
            assert client.mail(large, ADDRESSES[0]).startswith("250")
            senders.tries["<large@else.example>"] = 2
        drains()
        the_books_balance(senders, server, world)
        # Nothing half-stored: every message has its content and its recipients.
        assert Message.objects.filter(message_id="<large@else.example>").count() == 1
        assert Message.objects.count() == MessageContent.objects.count() == Recipient.objects.count()
        assert path.alive()
