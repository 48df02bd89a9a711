"""How much mail went through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from delivery.models import Message, Recipient
from delivery.reads.buckets import Bucket, instant_of

CHART_BUCKETS = 48


@dataclass(frozen=True)
class Rate:
    """One bucket of the flow chart: messages accepted and recipients delivered in `[start, end)`."""

    start: datetime
    end: datetime
    accepted: int
    delivered: int


def delivery_rates(account_id: int, now: datetime, hours: int = 24) -> list[Rate]:
    """Messages accepted and recipients delivered in each of 48 equal buckets of the last `hours`.

    The last bucket holds `now` and is not complete yet. Buckets are aligned to multiples of their length.
    """
    seconds = hours * 3600 // CHART_BUCKETS
    last = int(now.timestamp()) // seconds
    since = instant_of((last - CHART_BUCKETS + 1) * seconds)
    accepted = _by_bucket(
        Message.objects.filter(account_id=account_id, accepted_at__gte=since), "accepted_at", seconds
    )
    delivered = _by_bucket(
        Recipient.objects.filter(
            next_hop__route__account_id=account_id,
            state=Recipient.State.DELIVERED,
            final_at__gte=since,
        ),
        "final_at",
        seconds,
    )
    return [
        Rate(
            start=instant_of(number * seconds),
            end=instant_of((number + 1) * seconds),
            accepted=accepted.get(number, 0),
            delivered=delivered.get(number, 0),
        )
        for number in range(last - CHART_BUCKETS + 1, last + 1)
    ]


def _by_bucket(rows: QuerySet[Any], field: str, seconds: int) -> dict[int, int]:
    buckets = rows.annotate(bucket=Bucket(field, seconds=seconds)).values_list("bucket")
    return dict(buckets.annotate(number=Count("pk")).order_by())
