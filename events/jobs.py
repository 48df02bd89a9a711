"""Entry points of the queue."""

from __future__ import annotations

import logging
from typing import Any

import django_rq
from django.utils import timezone
from redis.exceptions import RedisError

from events import services

logger = logging.getLogger(__name__)


def tick() -> None:
    """Let the clock decide: events that ran out, alerts, recovery notices, what others did."""
    services.tick(timezone.now())


def tick_now(**_signal: Any) -> None:
    """Have a worker tick at once, for an outage has opened: two seconds are a long time for an alert."""
    try:
        django_rq.get_queue("alerts").enqueue(tick, result_ttl=0, ttl=10)
    except RedisError as error:
        logger.warning("the alerts of an outage wait for the next tick: %s", type(error).__name__)
