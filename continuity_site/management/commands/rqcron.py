"""RQ's clock, for which time may also go back. Takes the place of the command of django-rq."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django_rq.cron import DjangoCronScheduler
from django_rq.management.commands import rqcron
from rq.cron import CronJob
from rq.utils import now

LONGEST_SLEEP = 5.0  # seconds


class Clock(DjangoCronScheduler):
    """RQ compares with the wall clock only: put back by a day, nothing would be done for a day."""

    def enqueue_jobs(self) -> list[CronJob]:
        """Enqueue what is due, and what the clock, put back, has moved further away than its interval."""
        for job in self.get_jobs():
            following = job.next_enqueue_time
            if job.interval and following and following > now() + timedelta(seconds=job.interval):
                job.next_enqueue_time = now()
        enqueued: list[CronJob] = super().enqueue_jobs()
        return enqueued

    def calculate_sleep_interval(self) -> float:
        """Seconds until the next job, at most 5: after a jump it would be a minute."""
        return min(float(super().calculate_sleep_interval()), LONGEST_SLEEP)


class Command(rqcron.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        scheduler = Clock(logging_level=getattr(logging, options["logging_level"]))
        scheduler.load_config_from_file(options["config_path"])
        scheduler.start()  # type: ignore[no-untyped-call]
