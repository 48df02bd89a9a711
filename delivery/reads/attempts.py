"""What real deliveries over a route showed: the facts that monitoring judges by."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet

from delivery.models import Attempt, NextHop, Recipient
from delivery.reads.buckets import Bucket, instant_of


@dataclass(frozen=True)
class Evidence:
    """What real deliveries over a route showed in a stretch of time."""

    deliveries: int = 0
    failures: int = 0
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure_reply: str = ""


def evidence(route_id: int, start: datetime, end: datetime) -> Evidence:
    """What the attempts over a route showed in `[start, end)`.

    A failure is a host failure; while the route is suspect, so is each 5xx for a recipient.
    """
    attempts = Attempt.objects.filter(next_hop__route_id=route_id, at__gte=start, at__lt=end)
    found = attempts.aggregate(
        deliveries=Count("pk", filter=_DELIVERED),
        failures=Count("pk", filter=_FAILED),
        last_success_at=Max("at", filter=_DELIVERED),
        last_failure_at=Max("at", filter=_FAILED),
    )
    reply = ""
    if found["last_failure_at"]:
        reply = attempts.filter(_FAILED, at=found["last_failure_at"]).values_list("reply", flat=True)[:1][0]
    return Evidence(**found, last_failure_reply=reply)


def evidence_by_window(
    route_ids: Collection[int], seconds: int, start: datetime, end: datetime
) -> dict[tuple[int, datetime], Evidence]:
    """`evidence` of many routes for all windows of `seconds` in `[start, end)`, in two queries.

    Windows are aligned to multiples of their length since 1970. Keyed by route and window start; a
    window without deliveries or failures has no entry.
    """
    attempts = Attempt.objects.filter(
        _DELIVERED | _FAILED, next_hop__route_id__in=route_ids, at__gte=start, at__lt=end
    )
    rows = list(
        attempts.annotate(bucket=Bucket("at", seconds=seconds))
        .values_list("next_hop__route_id", "bucket")
        .annotate(
            deliveries=Count("pk", filter=_DELIVERED),
            failures=Count("pk", filter=_FAILED),
            last_success_at=Max("at", filter=_DELIVERED),
            last_failure_at=Max("at", filter=_FAILED),
        )
        .order_by()
    )
    replies = _replies(attempts, {failed_at for *_rest, failed_at in rows if failed_at})
    return {
        (route_id, instant_of(bucket * seconds)): Evidence(
            deliveries, failures, succeeded_at, failed_at, replies.get((route_id, failed_at), "")
        )
        for route_id, bucket, deliveries, failures, succeeded_at, failed_at in rows
    }


def routes_with_failed_mail(route_ids: Iterable[int]) -> set[int]:
    """The routes on which mail waits after a real attempt failed and none has succeeded since."""
    waiting = Recipient.objects.filter(
        next_hop=OuterRef("pk"), state__in=(Recipient.State.QUEUED, Recipient.State.SENDING)
    )
    failed = (
        Q(state__in=(NextHop.State.DOWN, NextHop.State.SUSPECT))
        | Q(last_failure_at__isnull=False, last_success_at=None)
        | Q(last_failure_at__gt=F("last_success_at"))
    )
    hops = NextHop.objects.filter(failed, Exists(waiting), route_id__in=route_ids)
    return set(hops.values_list("route_id", flat=True))


_DELIVERED = Q(result=Attempt.Result.DELIVERED)
_FAILED = Q(result=Attempt.Result.HOST_FAILURE) | Q(
    result__in=(Attempt.Result.DEFERRED, Attempt.Result.REFUSED),
    code__gte=500,
    next_hop__state=NextHop.State.SUSPECT,
    # The refusal that made it suspect was written in the same step as the state.
    at__gte=F("next_hop__state_since") - timedelta(seconds=1),
)


def _replies(attempts: QuerySet[Attempt], instants: set[datetime]) -> dict[tuple[int, datetime], str]:
    if not instants:
        return {}
    found = attempts.filter(_FAILED, at__in=instants).order_by("pk")
    return {
        (route_id, at): reply
        for route_id, at, reply in found.values_list("next_hop__route_id", "at", "reply")
    }
