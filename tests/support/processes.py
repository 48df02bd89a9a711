"""Real processes in tests: started with their output in a file, ended for certain, killed when wanted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Return the first true answer of `condition`; AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return answer


def listens(port: int) -> bool:
    """Whether something accepts connections on that port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _group_lives(group: int) -> bool:
    """Whether a process of the group runs: zombies that nobody has collected do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(process_group) == group and state != "Z":
            return True
    return False


class Process:
    """A child process in a session of its own, with stdout and stderr in a log file."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log_path = name, log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self, seconds: float = 10.0) -> float:
        """SIGTERM; return how many seconds it took to end. AssertionError when it had to be killed."""
        began = time.monotonic()
        if self.alive:
            self._popen.terminate()
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} did not end within {seconds:g} s of SIGTERM:\n{self.log()[-3000:]}"
                ) from None
        self._kill_group()
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL to it and to what it started, as a power cut would."""
        self._kill_group()
        self._popen.wait(10)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        # What is killed still holds its sockets and files for a moment.
        wait_until(lambda: not _group_lives(self._popen.pid), f"nothing is left of {self.name}")


class Processes:
    """The processes of one test. Use as a context manager: on leaving, all of them are ended."""

    def __init__(self, directory: Path, **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1", "DATA_DIR": str(directory)} | environment
        self.all: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        failures = []
        for process in reversed(self.all):
            try:
                took = process.stop()
                sys.stdout.write(f"{process.name} stopped in {took:.1f} s\n")
            except AssertionError as error:
                failures.append(str(error))
        sys.stdout.write(self.logs())  # pytest shows it when the test failed
        assert not failures, "\n".join(failures)

    def start(self, name: str, *command: str, **environment: str) -> Process:
        process = Process(name, command, self.environment | environment, self.directory / f"{name}.log")
        self.all.append(process)
        return process

    def manage(self, name: str, *arguments: str, **environment: str) -> Process:
        """`manage.py` with the arguments; `name` is that of its log."""
        return self.start(name, sys.executable, "manage.py", *arguments, **environment)

    def logs(self) -> str:
        """The ends of all logs, without what is logged for every message."""
        found = ""
        for path in sorted(self.directory.glob("*.log")):
            lines = [line for line in path.read_text(errors="replace").splitlines() if " INFO " not in line]
            found += "\n".join([f"--- {path.stem}", *lines[-150:], ""])
        return found
