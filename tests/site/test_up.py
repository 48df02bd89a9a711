"""`manage.py up` really started: everything runs, comes back when killed, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from continuity_site import seed
from tests.support.processes import Process, Processes, free_port, listens, wait_until

CHILDREN = {
    "redis-server",
    "cty-courier",
    "cty-gateway",
    "cty-alerts",
    "cty-checks",
    "cty-bulk",
    "cty-checks2",
    "cty-tick",
    "cty-clock",
    "cty-web",
}
READY = "Ctrl-C stops everything."
BACK_SECONDS = 2.0
STOP_SECONDS = 15.0
MEMORY_MB = 700


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="cty-up-"))
    yield path
    shutil.rmtree(path)


class Installation:
    """One `manage.py up` with ports and a data directory of its own."""

    def __init__(self, processes: Processes, database_url: str) -> None:
        self.processes = processes
        self.web, self.smtp, self.demo = free_port(), free_port(), free_port()
        self.environment = {
            "WEB_PORT": str(self.web),
            "SMTP_PORT": str(self.smtp),
            "DEMO_SMTP_PORT": str(self.demo),
            "DATABASE_URL": database_url,
            "REDIS_URL": "",
            "SECRET_KEY": "",
        }

    def start(self, name: str = "up", *arguments: str, **environment: str) -> Process:
        return self.processes.manage(name, "up", *arguments, **self.environment | environment)

    def ready(self, name: str = "up", *arguments: str, **environment: str) -> Process:
        process = self.start(name, *arguments, **environment)
        wait_until(lambda: READY in process.log() or not process.alive, "ready", 40)
        assert process.alive, process.log()
        return process


@pytest.fixture
def installation(data_dir: Path, database_url: str) -> Iterator[Installation]:
    with Processes(data_dir) as processes:
        yield Installation(processes, database_url)


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def children_of(pid: int) -> dict[str, int]:
    """Name and pid of the direct children that live."""
    found = {}
    for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            found[name_of(int(word))] = int(word)
        except OSError:
            continue  # ended meanwhile
    return found


def came_back(up: Process, name: str, victim: int) -> bool:
    return children_of(up.pid).get(name, victim) != victim


def offspring(pid: int) -> list[int]:
    """The process and all its descendants."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for word in words for each in offspring(int(word)))]


def exists(pid: int) -> bool:
    """Lives, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def proportional_memory_mb(pids: list[int]) -> float:
    """PSS: memory shared by several processes is divided among them."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1])  # type: ignore[index]
    return total / 1024


def healthz(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
        return int(answer.status)


def interrupt(process: Process) -> None:
    """Ctrl-C, and wait for the end."""
    os.kill(process.pid, signal.SIGINT)
    wait_until(lambda: not process.alive, "stopped after Ctrl-C", STOP_SECONDS)


@pytest.mark.django_db(transaction=True)
def test_everything_comes_back_when_killed_and_ends_with_ctrl_c(installation: Installation) -> None:
    up = installation.ready()
    assert set(children_of(up.pid)) == CHILDREN
    assert healthz(installation.web) == 200
    with smtplib.SMTP("127.0.0.1", installation.smtp, timeout=5) as client:
        assert client.noop()[0] == 250
    assert proportional_memory_mb(offspring(up.pid)) < MEMORY_MB

    for name in sorted(CHILDREN):
        victim = children_of(up.pid)[name]
        os.kill(victim, signal.SIGKILL)
        wait_until(partial(came_back, up, name, victim), f"{name} is back", BACK_SECONDS)
    wait_until(lambda: listens(installation.web) and listens(installation.smtp), "ports are back", 10)
    wait_until(lambda: set(children_of(up.pid)) == CHILDREN, "all are back", 10)
    assert healthz(installation.web) == 200

    everything = offspring(up.pid)
    interrupt(up)
    assert [pid for pid in everything if exists(pid)] == []
    left = {path.name for path in installation.processes.directory.iterdir()}
    assert left.isdisjoint({"up.lock", "redis.sock"})


@pytest.mark.django_db(transaction=True)
def test_a_second_one_is_refused_and_kill_9_leaves_nothing(
    installation: Installation, data_dir: Path
) -> None:
    up = installation.ready()
    second_and_taken_ports_are_refused_with_a_sentence(installation, data_dir)
    assert up.alive
    assert healthz(installation.web) == 200
    everything = offspring(up.pid)
    assert len(everything) > len(CHILDREN)
    os.kill(up.pid, signal.SIGKILL)
    wait_until(lambda: not [pid for pid in everything if exists(pid)], "all are gone")
    again = installation.ready("again")  # neither the lock nor the socket is in the way
    assert set(children_of(again.pid)) == CHILDREN


def second_and_taken_ports_are_refused_with_a_sentence(installation: Installation, data_dir: Path) -> None:
    second = installation.start("second")
    wait_until(lambda: not second.alive, "the second one gave up")
    assert "running already" in second.log()
    assert str(data_dir) in second.log()

    other = data_dir / "other"
    other.mkdir()
    third = installation.start("third", DATA_DIR=str(other))
    wait_until(lambda: not third.alive, "the third one gave up")
    assert "set WEB_PORT to a free port" in third.log()
    assert "Traceback" not in second.log() + third.log()


@pytest.mark.django_db(transaction=True)
def test_the_first_start_makes_the_demo_and_prints_how_to_sign_in(
    installation: Installation, data_dir: Path
) -> None:
    began = time.monotonic()
    up = installation.ready("up", "--prepare", DATABASE_URL="")
    assert time.monotonic() - began < 60
    assert "python" in children_of(up.pid)  # the demo mail server, without Django
    wait_until(lambda: listens(installation.demo), "the demo mail server listens")
    password = (data_dir / "demo-sign-in").read_text().split()[1]
    assert f"demo   password {password}" in up.log()
    assert f"127.0.0.1:{installation.smtp}" in up.log()
    assert (data_dir / "demo-sign-in").stat().st_mode & 0o077 == 0
    with smtplib.SMTP("127.0.0.1", installation.smtp, timeout=5) as client:
        client.sendmail("me@example.org", [f"anna@{seed.DOMAIN}"], b"Subject: Hello\r\n\r\nHello\r\n")
    wait_until(lambda: list((data_dir / "demo" / "mail").glob("*.eml")), "it reached the demo mail server")
    interrupt(up)

    again = installation.ready("again", DATABASE_URL="")  # the same password, nothing to make
    assert f"demo   password {password}" in again.log()


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_not_up_to_date_is_refused(installation: Installation) -> None:
    up = installation.start(DATABASE_URL="")
    wait_until(lambda: not up.alive, "gave up")
    assert "manage.py migrate" in up.log()
    assert "Traceback" not in up.log()


@pytest.mark.django_db(transaction=True)
def test_without_a_demo_no_account_is_made(installation: Installation) -> None:
    up = installation.ready("up", "--prepare", DATABASE_URL="", DEMO="0")
    assert "createsuperuser" in up.log()
    assert set(children_of(up.pid)) == CHILDREN
