"""/healthz: is it alive, and does it still watch? For load balancers and outside monitoring.

It is open to everybody, so it says one word for each part, and nothing about any account.
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime, timedelta

import django_rq
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import Redis
from redis.exceptions import RedisError

from delivery.reads import stuck_for
from monitoring.models import Pulse
from monitoring.reads import is_overdue

logger = logging.getLogger(__name__)

OK, DEGRADED, FAILED = "ok", "degraded", "failed"
CLOCK_DEAD = timedelta(minutes=2)
REDIS_SECONDS = 1.0

# What is wrong, for whoever reads the answer at night: no word of any account.
PROBLEMS = {
    "database": {FAILED: "The database does not answer."},
    "monitors": {FAILED: "Windows are overdue: a mail server may be down without anybody noticing."},
    "clock": {
        DEGRADED: "The periodic work has not run yet.",
        FAILED: "The periodic work has stopped: is the clock (rqcron) running, and a worker for checks?",
    },
    "queue": {FAILED: "Mail is due and nobody sends it: is the courier running?"},
    "redis": {DEGRADED: "Redis does not answer: periodic work runs without it, only slower."},
    "disk": {
        DEGRADED: "The disk of DATA_DIR fills up.",
        FAILED: "The disk of DATA_DIR is full, or nearly: mail is refused for now.",
    },
}


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when it works, degraded or not; 503 when mail may be refused or an outage go unnoticed."""
    checks = state(timezone.now())
    worst = next((word for word in (FAILED, DEGRADED) if word in checks.values()), OK)
    problems = {part: PROBLEMS[part][word] for part, word in checks.items() if word != OK}
    answer = {"status": worst, "checks": checks, "problems": problems}
    return JsonResponse(answer, status=503 if worst == FAILED else 200)


def state(now: datetime) -> dict[str, str]:
    """`ok`, `degraded` or `failed` for each part. No query of it grows with the amount of mail."""
    parts = {"database": _database, "monitors": _monitors, "clock": _clock, "queue": _queue}
    checks = {}
    try:
        for part, look in parts.items():
            checks[part] = look(now)
    except DatabaseError:
        logger.exception("the database does not answer")
        checks = dict.fromkeys(parts, FAILED)
    return checks | {"redis": _redis(), "disk": _disk()}


def _database(now: datetime) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return OK if cursor.fetchone() == (1,) else FAILED


def _monitors(now: datetime) -> str:
    """Failed when a monitor has not been judged for three of its windows."""
    return FAILED if is_overdue(now) else OK


def _clock(now: datetime) -> str:
    """Whoever runs the periodic work. Just after the installation nobody knows yet."""
    ticked = Pulse.objects.values_list("ticked_at", flat=True).first()
    if ticked is None:
        return DEGRADED
    return FAILED if now - ticked > CLOCK_DEAD else OK


def _queue(now: datetime) -> str:
    """Mail is due and nobody sends it."""
    return FAILED if stuck_for(now) else OK


def _redis() -> str:
    """Without Redis the work goes on by `manage.py tick`, only slower."""
    return OK if redis_answers() else DEGRADED


def redis_answers(seconds: float = REDIS_SECONDS) -> bool:
    """Does Redis answer within so many seconds? A host that hangs is as good as gone."""
    shared = django_rq.get_connection("checks").connection_pool
    times = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    pool = type(shared)(connection_class=shared.connection_class, **(shared.connection_kwargs | times))
    try:
        return bool(Redis(connection_pool=pool).ping())
    except (RedisError, OSError):
        return False
    finally:
        pool.disconnect()


def _disk() -> str:
    """Mail is refused for now (451) on a full disk, so the edge of it is a failure already."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    if free < settings.DISK_FAILED_MB * 1_000_000:
        return FAILED
    return DEGRADED if free < settings.DISK_DEGRADED_MB * 1_000_000 else OK
