"""What is done every few seconds: by RQ's clock (`manage.py rqcron continuity_site.schedule`), and by
`manage.py tick` while Redis is away.

Every function is safe to run twice at once, so two clocks do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rq import cron

import accounts.jobs
import delivery.jobs
import events.jobs
import monitoring.jobs
import notifications.jobs


@dataclass(frozen=True)
class Periodic:
    function: Callable[[], object]
    queue: str
    seconds: int


PERIODIC = (
    Periodic(monitoring.jobs.tick, "checks", 2),
    Periodic(monitoring.jobs.beat, "checks", 5),
    Periodic(events.jobs.tick, "alerts", 2),
    Periodic(notifications.jobs.sweep, "alerts", 3),
    Periodic(notifications.jobs.sweep_notices, "bulk", 5),
    Periodic(accounts.jobs.sweep, "bulk", 5),
    Periodic(delivery.jobs.bounce, "bulk", 5),
    Periodic(delivery.jobs.housekeep, "bulk", 5),
    Periodic(delivery.jobs.sample, "checks", 5),
)

for _job in PERIODIC:
    cron.register(
        _job.function,
        _job.queue,
        interval=_job.seconds,
        job_timeout=90,  # a probe of a silent server may take 60 s
        # A worker that was away finds the newest one or two of each, not an hour's worth.
        ttl=_job.seconds + 1,
        result_ttl=0,
        failure_ttl=600,
    )
