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

from monitoring.models import Monitor

logger = logging.getLogger(__name__)

OK, DEGRADED, FAILED = "ok", "degraded", "failed"
OVERDUE_WINDOWS = 3
GRACE = timedelta(seconds=15)
REDIS_SECONDS = 1.0


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when it works, degraded or not; 503 when mail may be refused or an outage go unnoticed."""
    checks = state(timezone.now())
    worst = next((word for word in (FAILED, DEGRADED) if word in checks.values()), OK)
    return JsonResponse({"status": worst, "checks": checks}, status=503 if worst == FAILED else 200)


def state(now: datetime) -> dict[str, str]:
    """`ok`, `degraded` or `failed` for each part. No query of it grows with the amount of mail."""
    try:
        database, monitors = _database(), _monitors(now)
    except DatabaseError:
        logger.exception("the database does not answer")
        database = monitors = FAILED
    return {"database": database, "monitors": monitors, "redis": _redis(), "disk": _disk()}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return OK if cursor.fetchone() == (1,) else FAILED


def _monitors(now: datetime) -> str:
    """Failed when an active monitor has not been judged for three of its windows."""
    active = Monitor.objects.watching()
    for since, made, seconds in active.values_list("judged_until", "account__created_at", "window_seconds"):
        if now - (since or made) > OVERDUE_WINDOWS * timedelta(seconds=seconds) + GRACE:
            return FAILED
    return OK


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
