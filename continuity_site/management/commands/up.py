"""`manage.py up`: the whole installation on one machine, in the foreground."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from redis import Redis
from redis.exceptions import RedisError

from accounts.models import Account
from continuity_site import embedded_redis, processes, seed
from continuity_site.supervisor import Supervisor

logger = logging.getLogger(__name__)

READY_SECONDS = 30.0
POLL_SECONDS = 0.05


class Command(BaseCommand):
    help = (
        "Start everything on this machine and keep it running: web, gateway, courier, workers, clock, and an "
        "embedded Redis when REDIS_URL is empty. Ctrl-C stops it all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="Migrate the database first, and make the demo account when it is empty (unless DEMO=0).",
        )

    def handle(self, *_: Any, prepare: bool, **__: Any) -> None:
        with _only_one():
            self._database(prepare)
            demo = Account.objects.filter(is_demo=True).exists()
            _check_ports(demo)
            processes.preload()
            children = processes.children(redis=settings.EMBEDDED_REDIS, demo=demo)
            try:
                self._run(Supervisor(children, before_fork=connections.close_all), demo)
            finally:
                if settings.EMBEDDED_REDIS:
                    embedded_redis.clean_up(settings.DATA_DIR)

    def _database(self, prepare: bool) -> None:
        try:
            if _unapplied():
                if not prepare:
                    raise CommandError(
                        "The database is not up to date. Run `manage.py migrate`, or start with --prepare."
                    )
                call_command("migrate", interactive=False, verbosity=0)
            if prepare and _wants_demo() and not Account.objects.exists():
                seed.seed()
        except DatabaseError as error:
            raise CommandError(f"The database does not answer: {error}. Is DATABASE_URL right?") from error

    def _run(self, supervisor: Supervisor, demo: bool) -> None:
        with supervisor:
            if settings.EMBEDDED_REDIS:
                supervisor.start("redis")
                if not self._wait(supervisor, _redis_answers):
                    return
            supervisor.start()
            if not self._wait(supervisor, _ready):
                return
            self._say(demo)
            supervisor.run()
            self.stdout.write("\nStopping.")

    def _wait(self, supervisor: Supervisor, ready: Any) -> bool:
        """Wait until `ready()`. False when asked to stop meanwhile; late is said once, and waited on."""
        warn_at = time.monotonic() + READY_SECONDS
        while not ready():
            if not supervisor.wait(POLL_SECONDS):
                return False
            if time.monotonic() > warn_at:
                self.stderr.write(f"Not ready after {READY_SECONDS:g} s. The lines above say what fails.")
                warn_at = float("inf")
        return True

    def _say(self, demo: bool) -> None:
        lines = ["", "Continuity is running.", "", f"  Console       {settings.BASE_URL}/"]
        if demo:
            user, password = seed.sign_in()
            lines += [
                f"  Sign in       {user}   password {password}",
                f"  Demo          {settings.BASE_URL}/demo/   break the mail server, see the alerts",
            ]
        else:
            lines.append("  First user    python manage.py createsuperuser")
        host = _local_address()
        lines.append(f"  Mail (SMTP)   {host}:{settings.SMTP_PORT}")
        if demo:
            lines.append(
                f"  Try it        swaks --server {host}:{settings.SMTP_PORT} --to anna@{seed.DOMAIN}"
            )
        lines += [*_socket_elsewhere(), "", "Ctrl-C stops everything.", ""]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock of the data directory. The kernel lets go of it however this process ends."""
    path = settings.DATA_DIR / "up.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before us removes the file when it ends: this may be that one, open and nameless.
            ours = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            ours = False
        if not ours:
            raise CommandError(
                f"Continuity is running already on {settings.DATA_DIR}. "
                "Stop it first, or set DATA_DIR, WEB_PORT and SMTP_PORT for a second one."
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _socket_elsewhere() -> list[str]:
    """Where the Redis socket is, when the data directory is too deep for it."""
    socket = embedded_redis.socket_path(settings.DATA_DIR)
    if not settings.EMBEDDED_REDIS or socket.parent == settings.DATA_DIR:
        return []
    return ["", f"DATA_DIR is too deep for a socket: the embedded Redis listens on {socket}."]


def _unapplied() -> bool:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _wants_demo() -> bool:
    """DEMO, which is 1 unless it is set: `--prepare` is how a newcomer starts."""
    return settings.DEMO if "DEMO" in os.environ else True


def _check_ports(demo: bool) -> None:
    names = [("WEB_PORT", settings.BIND_ADDRESS), ("SMTP_PORT", settings.BIND_ADDRESS)]
    if demo:
        names.append(("DEMO_SMTP_PORT", "127.0.0.1"))
    for name, address in names:
        port = getattr(settings, name)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} of {address} cannot be used ({error.strerror}). "
                    f"Stop what uses it, or set {name} to a free port."
                ) from None


def _local_address() -> str:
    """Where this machine reaches what is bound to BIND_ADDRESS."""
    address: str = settings.BIND_ADDRESS
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104


def _ready() -> bool:
    return _listens(settings.WEB_PORT) and _greets(settings.SMTP_PORT)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_local_address(), port), timeout=1).close()
    except OSError:
        return False
    return True


def _greets(port: int) -> bool:
    """Does an SMTP server greet there?"""
    try:
        with socket.create_connection((_local_address(), port), timeout=1) as client:
            client.settimeout(2)
            greeting = client.recv(3)
            client.sendall(b"QUIT\r\n")
    except OSError:
        return False
    return greeting == b"220"


def _redis_answers() -> bool:
    client = Redis(unix_socket_path=str(embedded_redis.socket_path(settings.DATA_DIR)))
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()
