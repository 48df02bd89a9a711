"""What waits, whether it may leave, and when it will be gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Literal

from django.db.models import (
    Count,
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Min,
    OuterRef,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce, Least

from delivery.models import NextHop, Pause, Recipient, Route

WORST_FIRST = (NextHop.State.DOWN, NextHop.State.SUSPECT, NextHop.State.RECOVERING, NextHop.State.UP)

RATE_SPAN = timedelta(minutes=1)
LONG_QUEUE = 10_000
_long_queues: dict[int, tuple[float, dict[int, int]]] = {}


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
    """A backlog that shrinks: recipients left, deliveries per minute, and when it will be through.

    `put_off` of those left were refused or put off by the mail server, and are tried again later.
    """

    left: int
    per_minute: float
    eta: datetime | None
    put_off: int = 0


def queue_figures(account_id: int) -> QueueFigures:
    queued = sum(_waiting_by_route(account_id).values())
    hops = NextHop.objects.filter(route__account_id=account_id)
    oldest = hops.annotate(oldest=_oldest_waiting()).aggregate(value=Min("oldest"))["value"]
    return QueueFigures(queued, oldest)


def _waiting_by_route(account_id: int) -> dict[int, int]:
    """How many wait on each route. A count of a long queue is kept for twenty times as long as it took, so
    that pages that show it all the time do not count a million rows all the time.
    """
    kept = _long_queues.get(account_id)
    if kept and monotonic() < kept[0]:
        return kept[1]
    began = monotonic()
    counts = dict(
        Recipient.objects.waiting()
        .filter(next_hop__route__account_id=account_id)
        .values_list("next_hop__route_id")
        .annotate(number=Count("pk"))
        .order_by()
    )
    _long_queues.pop(account_id, None)
    if sum(counts.values()) > LONG_QUEUE:
        _long_queues[account_id] = (monotonic() + 20 * (monotonic() - began), counts)
    return counts


def queue_by_route(account_id: int) -> list[RouteQueue]:
    """One entry for each route of the account, also for those nothing ever went over."""
    order = {state: place for place, state in enumerate(WORST_FIRST)}
    queued = _waiting_by_route(account_id)
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


def inbound_state(account_id: int) -> str:
    """The worst state of the account's inbound next hops, a `NextHop.State`; `up` when there is none."""
    states = set(
        NextHop.objects.filter(route__account_id=account_id, route__kind=Route.Kind.INBOUND).values_list(
            "state", flat=True
        )
    )
    return next((state for state in WORST_FIRST if state in states), NextHop.State.UP)


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
    put_off = backlog.filter(state=Recipient.State.QUEUED, next_attempt_at__gt=now).count()
    return Drain(left, rate, now + timedelta(minutes=left / rate) if rate else None, put_off)


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


def _oldest_waiting() -> Subquery:
    recipients = Recipient.objects.waiting().filter(next_hop=OuterRef("pk"))
    return Subquery(recipients.order_by("accepted_at").values("accepted_at")[:1])
