"""How the queue was, and how long the disk lasts: from the samples of each minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from delivery.models import QueueSample, Recipient

FORECAST_SPAN = timedelta(hours=1)
FORECAST_LEAST = timedelta(minutes=5)
POINTS = 240


@dataclass(frozen=True)
class Depth:
    """The queue at an instant: recipients that waited, and deliveries a minute until then."""

    at: datetime
    queued: int
    per_minute: float


@dataclass(frozen=True)
class DiskForecast:
    """When the disk is full if mail comes in as in the last hour. `free` in bytes, less what is kept free."""

    free: int
    full_at: datetime | None

    def days_left(self, now: datetime) -> float | None:
        return (self.full_at - now) / timedelta(days=1) if self.full_at else None


def queue_history(account_id: int, start: datetime, end: datetime) -> list[Depth]:
    """At most 240 points of `[start, end]`, the earliest first; of each stretch the deepest."""
    rows = list(
        QueueSample.objects.filter(account_id=account_id, at__gte=start, at__lte=end)
        .order_by("at")
        .values_list("at", "queued", "delivered")
    )
    step = -(-len(rows) // POINTS) or 1
    return [_deepest(rows[place : place + step]) for place in range(0, len(rows), step)]


def _deepest(rows: Sequence[tuple[datetime, int, int]]) -> Depth:
    at, queued, _ = max(rows, key=lambda row: row[1])
    return Depth(at, queued, sum(delivered for _, _, delivered in rows) / len(rows))


def disk_forecast(account_id: int, now: datetime) -> DiskForecast | None:
    """By how much the disk filled in the last hour; None where that is not known.

    Samples are taken while something waits or is paused, so the answer comes some minutes after that began.
    """
    samples = (
        QueueSample.objects.filter(
            account_id=account_id, at__gt=now - FORECAST_SPAN, at__lte=now, disk_free__isnull=False
        )
        .order_by("at")
        .values_list("at", "disk_free")
    )
    rows = [(at, free) for at, free in samples if free is not None]
    if not rows:
        return None
    (first_at, first), (last_at, last) = rows[0], rows[-1]
    free = max(0, last - settings.DISK_FAILED_MB * 1_000_000)
    elapsed, used = last_at - first_at, first - last
    if elapsed < FORECAST_LEAST or used <= 0:
        return DiskForecast(free, None)
    return DiskForecast(free, last_at + elapsed * (free / used))


@dataclass(frozen=True)
class Drained:
    """What became of a backlog, by recipient: delivered, and still here (refused for now)."""

    delivered: int
    left: int


def drained_between(hop_id: int, start: datetime, end: datetime, *, accepted_before: datetime) -> Drained:
    """The backlog of a next hop (accepted before an instant) that was delivered in `[start, end]`."""
    backlog = Recipient.objects.filter(next_hop=hop_id, accepted_at__lt=accepted_before)
    delivered = backlog.filter(state=Recipient.State.DELIVERED, final_at__gte=start, final_at__lte=end)
    left = Recipient.objects.waiting().filter(next_hop=hop_id, accepted_at__lt=accepted_before)
    return Drained(delivered.count(), left.count())
