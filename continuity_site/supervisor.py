"""Supervision: starts processes, starts again what dies, and stops them in order. Knows no Django.

Every child leads a session of its own and is killed by the kernel when the supervisor dies, so that even
`kill -9` leaves nothing behind. Linux only, as is the whole of `manage.py up`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_AWAITED = STOP_SIGNALS | {signal.SIGCHLD}
STOP_SECONDS = 6.0  # then SIGKILL; every process of ours stops within 5
SETTLED_SECONDS = 10.0  # a child that lived so long is started again at once
RESTART_SECONDS = (0.0, 0.25, 0.5, 1.0, 1.5)  # the pause before the next start, by deaths in a row
POLL_SECONDS = 0.1

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when process `parent` ends; ends it now if that happened before."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Set what `ps` and `top` show (15 bytes)."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


@dataclass
class Child:
    """One supervised process: `run` is called in it, and returns or replaces the process by exec."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started: float = 0.0
    deaths: int = 0
    start_at: float = field(default=0.0)

    @property
    def alive(self) -> bool:
        return self.pid != 0


class Supervisor:
    """Runs `children` in the given order until told to stop, and stops them in reverse order.

    Use as a context manager: signals are blocked and children reaped from entering until leaving.
    """

    def __init__(self, children: Sequence[Child], before_fork: Callable[[], None] = lambda: None) -> None:
        self.children = children
        self._before_fork = before_fork
        self._stopping = False
        self._old_mask: set[signal.Signals] | None = None

    def __enter__(self) -> Supervisor:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._old_mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED))  # type: ignore[arg-type]
        gc.collect()
        gc.freeze()  # what is here now is shared with the children; collecting it would copy its pages
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        while signal.sigtimedwait(STOP_SIGNALS, 0):
            pass  # asked again while stopping
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._old_mask or set())

    def start(self, *names: str) -> None:
        """Start the children of these names, or all that do not run."""
        self._before_fork()
        for child in self.children:
            if not child.alive and (not names or child.name in names):
                self._start(child)

    def wait(self, seconds: float) -> bool:
        """Look after the children for so long. False as soon as a signal asks to stop."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            received = signal.sigtimedwait(_AWAITED, min(left, self._next_start()))
            if received is not None and received.si_signo in STOP_SIGNALS:
                return False
            self._reap()
            self._start_again()
        return True

    def run(self) -> None:
        """Look after the children until a signal asks to stop."""
        while self.wait(60):
            pass

    def stop(self) -> None:
        """Stop the children one after another, in reverse order of their start, and all their offspring."""
        self._stopping = True
        for child in reversed(self.children):
            self._stop(child)
        self._end_offspring()

    def _start(self, child: Child) -> None:
        supervisor = os.getpid()
        child.started, child.start_at = time.monotonic(), 0.0
        pid = os.fork()
        if pid == 0:
            self._become(child, supervisor)
        child.pid = pid

    def _become(self, child: Child, supervisor: int) -> None:
        """In the child: cut the ties to the terminal and the supervisor's signal handling, then run."""
        status = 1
        try:
            die_with_parent(supervisor)
            os.setsid()
            name_process(f"cty-{child.name}")
            for number in _AWAITED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            child.run()
            status = 0
        except KeyboardInterrupt:
            status = 0
        except SystemExit as request:
            status = request.code if isinstance(request.code, int) else int(request.code is not None)
            if isinstance(request.code, str):
                logger.error("%s: %s", child.name, request.code)
        except BaseException:
            logger.exception("%s failed", child.name)
        finally:
            logging.shutdown()
            os._exit(status)

    def _reap(self) -> None:
        """Collect every dead process that is ours, orphans of children included."""
        for pid, status in _dead():
            child = next((child for child in self.children if child.pid == pid), None)
            if child is None:
                continue
            child.pid = 0
            _kill_group(pid)  # what it started must not live on beside its successor
            if self._stopping:
                continue
            lived = time.monotonic() - child.started
            child.deaths = 0 if lived >= SETTLED_SECONDS else child.deaths + 1
            pause = RESTART_SECONDS[min(max(child.deaths - 1, 0), len(RESTART_SECONDS) - 1)]
            child.start_at = time.monotonic() + pause
            logger.warning(
                "%s (pid %s) %s after %.1f s; started again%s",
                child.name,
                pid,
                _how(status),
                lived,
                f" in {pause:g} s" if pause else "",
            )

    def _start_again(self) -> None:
        now = time.monotonic()
        due = [child.name for child in self.children if child.start_at and child.start_at <= now]
        if due:
            self.start(*due)

    def _next_start(self) -> float:
        """Seconds until a child must be started again, at most 60."""
        times = [child.start_at for child in self.children if child.start_at]
        return max(0.0, min([*times, time.monotonic() + 60]) - time.monotonic())

    def _stop(self, child: Child) -> None:
        if not child.alive:
            return
        pid = child.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while child.alive and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)
            self._reap()
        if child.alive:
            logger.warning(
                "%s (pid %s) did not stop within %g s and was killed", child.name, pid, STOP_SECONDS
            )
            _kill_group(pid)
            while child.alive:
                signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)
                self._reap()

    def _end_offspring(self) -> None:
        """Kill what children left behind: as subreaper we are its parent now."""
        deadline = time.monotonic() + STOP_SECONDS
        while (orphans := _children_of(os.getpid())) and time.monotonic() < deadline:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)
            self._reap()


def _dead() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123  (proc, not a path of ours)
        return [int(word) for word in file.read().split()]


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with status {os.WEXITSTATUS(status)}"
