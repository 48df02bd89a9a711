"""Keeps the clock going while Redis is away."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from continuity_site.health import redis_answers
from continuity_site.schedule import PERIODIC, Periodic

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class Command(BaseCommand):
    help = (
        "Waits until Redis has been out of reach for REDIS_AWAY_SECONDS (30), then runs the periodic jobs "
        "directly, by the same functions, until it is back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)

    def handle(self, *_: Any, poll_seconds: float, **__: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        last_answer, direct = time.monotonic(), False
        jobs = Directly()
        while not stop.wait(poll_seconds):
            if redis_answers():
                if direct:
                    logger.warning("Redis answers again: the workers take over")
                last_answer, direct = time.monotonic(), False
            elif time.monotonic() - last_answer >= settings.REDIS_AWAY_SECONDS:
                if not direct:
                    logger.error("Redis has been out of reach: the periodic jobs run directly")
                direct = True
                jobs.run()


class Directly:
    """Runs the periodic jobs, each in a thread of its own: a probe of a silent server holds up no alert.

    The threads are daemons: a stop does not wait for them, as every job may be cut off at any line.
    """

    def __init__(self) -> None:
        self._threads: dict[Periodic, threading.Thread] = {}

    def run(self) -> None:
        """Start every job that is not still running since last time."""
        for job in PERIODIC:
            thread = self._threads.get(job)
            if thread is None or not thread.is_alive():
                self._threads[job] = threading.Thread(target=_run, args=(job,), daemon=True)
                self._threads[job].start()

    def running(self) -> list[threading.Thread]:
        """The jobs that have not ended yet."""
        return [thread for thread in self._threads.values() if thread.is_alive()]


def _run(job: Periodic) -> None:
    try:
        job.function()
    except Exception:
        logger.exception("%s failed", job.function.__module__)
    finally:
        connections.close_all()
