"""Read-only questions about the queue, for pages and for the apps above. Constant numbers of queries.

Counts are of recipients unless a name says messages. All datetimes are aware UTC wall time, but for
`Recipient.expires_at`, which is on the account's running clock (see `running_now`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db.models import (
    Count,
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce, Least

from delivery.models import Attempt, Message, NextHop, Pause, Recipient, Route

RATE_SPAN = timedelta(minutes=1)
CHART_BUCKETS = 48


@dataclass(frozen=True)
class QueueFigures:
    """How many recipients wait, held and quarantined ones included, and since when the oldest does."""

    queued: int
    oldest: datetime | None


@dataclass(frozen=True)
class RouteQueue:
    """The queue of one route, with the state of its next hops (the worst one first for outbound)."""

    route_id: int
    name: str
    kind: str
    queued: int
    oldest: datetime | None
    state: str
    state_since: datetime | None
    last_reply: str


@dataclass(frozen=True)
class PauseState:
    """`pausing`: what is in flight still finishes. `since` and `by` are of the open pause."""

    mode: Literal["flowing", "pausing", "paused"]
    since: datetime | None = None
    by: str = ""


@dataclass(frozen=True)
class Drain:
    """A backlog that shrinks: recipients left, deliveries per minute, and when it will be through."""

    left: int
    per_minute: float
    eta: datetime | None


@dataclass(frozen=True)
class Evidence:
    """What real deliveries over a route showed in a stretch of time."""

    deliveries: int = 0
    failures: int = 0
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure_reply: str = ""


@dataclass(frozen=True)
class Rate:
    """One bucket of the flow chart: messages accepted and recipients delivered in `[start, end)`."""

    start: datetime
    end: datetime
    accepted: int
    delivered: int


@dataclass(frozen=True)
class Balance:
    """Reconciliation of an account, by recipient."""

    accepted: int
    delivered: int
    bounced: int
    rejected: int
    waiting: int

    @property
    def balanced(self) -> bool:
        return self.accepted == self.delivered + self.bounced + self.rejected + self.waiting


class Bucket(Func):
    """The number of the stretch of `seconds` since 1970 into which an instant falls."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / %(seconds)s)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / %(seconds)s)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)


def queue_figures(account_id: int) -> QueueFigures:
    queued = Recipient.objects.waiting().filter(next_hop__route__account_id=account_id).count()
    hops = NextHop.objects.filter(route__account_id=account_id)
    oldest = hops.annotate(oldest=_oldest_waiting()).aggregate(value=Min("oldest"))["value"]
    return QueueFigures(queued, oldest)


def queue_by_route(account_id: int) -> list[RouteQueue]:
    """One entry for each route of the account, also for those nothing ever went over."""
    order = {state: place for place, state in enumerate(("down", "suspect", "recovering", "up"))}
    queued = dict(
        Recipient.objects.waiting()
        .filter(next_hop__route__account_id=account_id)
        .values_list("next_hop__route_id")
        .annotate(number=Count("pk"))
        .order_by()
    )
    hops: dict[int, list[Any]] = {}
    for hop in NextHop.objects.filter(route__account_id=account_id).annotate(oldest=_oldest_waiting()):
        hops.setdefault(hop.route_id, []).append(hop)
    figures = []
    for route in Route.objects.filter(account_id=account_id).order_by("kind", "name"):
        own = sorted(hops.get(route.pk, ()), key=lambda hop: order.get(hop.state, 0))
        worst = own[0] if own else None
        figures.append(
            RouteQueue(
                route_id=route.pk,
                name=route.name,
                kind=route.kind,
                queued=queued.get(route.pk, 0),
                oldest=min((hop.oldest for hop in own if hop.oldest), default=None),
                state=worst.state if worst else NextHop.State.UP,
                state_since=worst.state_since if worst else None,
                last_reply=worst.last_reply if worst else "",
            )
        )
    return figures


def pause_state(account_id: int, now: datetime) -> PauseState:
    """Whether inbound deliveries of the account are held back at `now`."""
    sending = Recipient.objects.filter(
        next_hop__route__account_id=account_id,
        next_hop__route__kind=Route.Kind.INBOUND,
        state=Recipient.State.SENDING,
    )
    pause = (
        Pause.objects.filter(account_id=account_id, ended_at=None, started_at__lte=now)
        .annotate(in_flight=Exists(sending))
        .first()
    )
    if pause is None:
        return PauseState("flowing")
    return PauseState("pausing" if pause.in_flight else "paused", pause.started_at, pause.started_by)


def running_now(account_id: int, now: datetime) -> datetime:
    """The account's running clock at `now`: wall time less all time that was paused before.

    It stands still while a pause is open, so that pausing and resuming touch no recipient.
    """
    instant = Value(now, output_field=DateTimeField())
    length = ExpressionWrapper(
        Least(Coalesce("ended_at", instant), instant) - F("started_at"), output_field=DurationField()
    )
    paused = Pause.objects.filter(account_id=account_id, started_at__lt=now).aggregate(sum=Sum(length))["sum"]
    return now - (paused or timedelta())


def drain_progress(account_id: int, now: datetime) -> Drain | None:
    """How the backlog of recovering next hops shrinks; None when there is none, or while it is paused.

    Held, quarantined and expired recipients do not drain and are not counted. The rate is that of the
    backlog over the last minute; without any there is no `eta`.
    """
    hops = NextHop.objects.filter(route__account_id=account_id, state=NextHop.State.RECOVERING)
    if Pause.objects.filter(account_id=account_id, ended_at=None).exists():
        hops = hops.exclude(route__kind=Route.Kind.INBOUND)
    ids = list(hops.values_list("pk", flat=True))
    if not ids:
        return None
    until = Coalesce(F("next_hop__backlog_before"), Value(now, output_field=DateTimeField()))
    backlog = Recipient.objects.filter(next_hop_id__in=ids, accepted_at__lt=until)
    # Two counts that an index answers, instead of one that reads a million rows for their state.
    resting = (Recipient.State.HELD, Recipient.State.QUARANTINED, Recipient.State.EXPIRED)
    left = backlog.waiting().count() - backlog.filter(state__in=resting).count()
    if left <= 0:
        return None
    rate = backlog.filter(
        state=Recipient.State.DELIVERED, final_at__gt=now - RATE_SPAN, final_at__lte=now
    ).count() / (RATE_SPAN / timedelta(minutes=1))
    return Drain(left, rate, now + timedelta(minutes=left / rate) if rate else None)


def expires_first(account_id: int, now: datetime) -> datetime | None:
    """When the first bounces are due, in wall time if nothing is paused from `now` on.

    None when nothing can expire: an empty queue, or a pause.
    """
    if Pause.objects.filter(account_id=account_id, ended_at=None, started_at__lte=now).exists():
        return None
    first = (
        Recipient.objects.still_queued()
        .filter(next_hop=OuterRef("pk"))
        .order_by("expires_at")
        .values("expires_at")[:1]
    )
    hops = NextHop.objects.filter(route__account_id=account_id).annotate(first=Subquery(first))
    running: datetime | None = hops.aggregate(value=Min("first"))["value"]
    return None if running is None else now + (running - running_now(account_id, now))


def delivery_rates(account_id: int, now: datetime, hours: int = 24) -> list[Rate]:
    """Messages accepted and recipients delivered in each of 48 equal buckets of the last `hours`.

    The last bucket holds `now` and is not complete yet. Buckets are aligned to multiples of their length.
    """
    seconds = hours * 3600 // CHART_BUCKETS
    last = int(now.timestamp()) // seconds
    since = _instant((last - CHART_BUCKETS + 1) * seconds)
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
            start=_instant(number * seconds),
            end=_instant((number + 1) * seconds),
            accepted=accepted.get(number, 0),
            delivered=delivered.get(number, 0),
        )
        for number in range(last - CHART_BUCKETS + 1, last + 1)
    ]


def reconcile_account(account_id: int) -> Balance:
    """What was accepted and where it is now. Reads every recipient of the account: on demand only."""
    state = Recipient.State
    counts = Recipient.objects.filter(next_hop__route__account_id=account_id).aggregate(
        accepted=Count("pk"),
        delivered=Count("pk", filter=Q(state=state.DELIVERED)),
        bounced=Count("pk", filter=Q(state=state.BOUNCED)),
        rejected=Count("pk", filter=Q(state=state.REJECTED)),
        waiting=Count("pk", filter=Q(state__in=Recipient.WAITING)),
    )
    return Balance(**counts)


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
        (route_id, _instant(bucket * seconds)): Evidence(
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


def _oldest_waiting() -> Subquery:
    recipients = Recipient.objects.waiting().filter(next_hop=OuterRef("pk"))
    return Subquery(recipients.order_by("accepted_at").values("accepted_at")[:1])


def _by_bucket(rows: QuerySet[Any], field: str, seconds: int) -> dict[int, int]:
    buckets = rows.annotate(bucket=Bucket(field, seconds=seconds)).values_list("bucket")
    return dict(buckets.annotate(number=Count("pk")).order_by())


def _replies(attempts: QuerySet[Attempt], instants: set[datetime]) -> dict[tuple[int, datetime], str]:
    if not instants:
        return {}
    found = attempts.filter(_FAILED, at__in=instants).order_by("pk")
    return {
        (route_id, at): reply
        for route_id, at, reply in found.values_list("next_hop__route_id", "at", "reply")
    }


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
