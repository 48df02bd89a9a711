"""Keeps the clock going while Redis is away."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections

from continuity_site.health import redis_answers
from continuity_site.schedule import PERIODIC

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
        while not stop.wait(poll_seconds):
            if redis_answers():
                if direct:
                    logger.warning("Redis answers again: the workers take over")
                last_answer, direct = time.monotonic(), False
            elif time.monotonic() - last_answer >= settings.REDIS_AWAY_SECONDS:
                if not direct:
                    logger.error("Redis has been out of reach: the periodic jobs run directly")
                direct = True
                run_directly()


def run_directly() -> None:
    """Run every periodic job once. One that fails is logged and keeps no other from running."""
    for job in PERIODIC:
        close_old_connections()
        try:
            job.function()
        except Exception:
            logger.exception("%s failed", job.function.__module__)
    close_old_connections()
