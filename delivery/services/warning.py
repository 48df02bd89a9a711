"""Warning senders of mail that is late: once for each message, by the account's settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, Min, OuterRef, Subquery

from delivery.models import DeliverySettings, Message, NextHop, Pause, Recipient, Route
from delivery.rules import bounces
from delivery.services import reports
from delivery.services.reports import Batch

AT_ONCE = 50  # recipients a transaction, and those that came at the same instant
SLICE = timedelta(minutes=10)
"""So much of the time of acceptance is looked at in one step, so that a long queue is not sorted."""
UNTOLD = timedelta(hours=96)
"""A route that was never looked at begins so far back."""


def warn_due(now: datetime) -> tuple[int, int]:
    """One batch for the first route that has something late; how many recipients, how many warnings."""
    for route in _routes():
        delay = delay_of(route)
        if delay is None or (route.kind == Route.Kind.INBOUND and _is_paused(route)):
            continue
        until = bounces.ran_before(now, delay, _pauses(route, now))
        seen, made = _look(route.pk, until, now)
        if seen:
            return seen, made
    return 0, 0


def _routes() -> list[Route]:
    """Routes on which something waits."""
    waiting = Recipient.objects.still_queued().filter(next_hop__route=OuterRef("pk"))
    routes = Route.objects.filter(Exists(waiting)).select_related("account__delivery_settings")
    return list(routes.order_by("pk"))


def delay_of(route: Route) -> timedelta | None:
    """After how long senders are warned; None when they are not."""
    numbers = getattr(route.account, "delivery_settings", None) or DeliverySettings(account=route.account)
    outbound = route.kind == Route.Kind.OUTBOUND
    minutes = numbers.warn_outbound_minutes if outbound else numbers.warn_inbound_minutes
    return timedelta(minutes=minutes) if minutes else None


def _is_paused(route: Route) -> bool:
    return Pause.objects.filter(account_id=route.account_id, ended_at=None).exists()


def _pauses(route: Route, now: datetime) -> list[tuple[datetime, datetime]]:
    """When this route's mail did not wait for the server but for a person."""
    if route.kind != Route.Kind.INBOUND:
        return []
    ended = Pause.objects.filter(account_id=route.account_id, started_at__lt=now)
    return [(pause.started_at, min(pause.ended_at or now, now)) for pause in ended]


def _look(route_id: int, until: datetime, now: datetime) -> tuple[int, int]:
    """Warn about the next of the route's mail that was accepted up to `until`."""
    route = Route.objects.filter(pk=route_id)
    since = route.values_list("warned_to", flat=True).first() or until - UNTOLD
    if _first(route_id, since, until) is None:
        return 0, 0
    with transaction.atomic():
        # Somebody else may be at it, or was: what he has done is seen here.
        if connection.features.has_select_for_update_skip_locked:
            route = route.select_for_update(skip_locked=True, no_key=True)
        row = route.first()
        if row is None:
            return 0, 0
        since = row.warned_to or until - UNTOLD
        first = _first(route_id, since, until)
        if first is None:
            return 0, 0
        recipients, end = _next(route_id, since, min(until, first + SLICE))
        Route.objects.filter(pk=route_id).update(warned_to=end)
        return len(recipients), _warn(recipients, now)


def _first(route_id: int, since: datetime, until: datetime) -> datetime | None:
    """When the first was accepted that waits on the route; one index probe a next hop."""
    waiting = Recipient.objects.waiting().filter(
        next_hop=OuterRef("pk"), accepted_at__gt=since, accepted_at__lte=until
    )
    first = Subquery(waiting.order_by("accepted_at").values("accepted_at")[:1])
    hops = NextHop.objects.filter(route_id=route_id).annotate(first=first)
    found: datetime | None = hops.aggregate(value=Min("first"))["value"]
    return found


def _next(route_id: int, since: datetime, end: datetime) -> tuple[list[Recipient], datetime]:
    """What was accepted after `since`, whole instants of it, and the last of these instants."""
    waiting = Recipient.objects.waiting().filter(next_hop__route_id=route_id, accepted_at__gt=since)
    order = waiting.filter(accepted_at__lte=end).order_by("accepted_at").values_list("accepted_at", flat=True)
    last = list(order[AT_ONCE - 1 : AT_ONCE])
    end = last[0] if last else end
    found = waiting.filter(accepted_at__lte=end).select_related("next_hop__route").order_by("pk")
    return list(found), end


def _warn(recipients: Sequence[Recipient], now: datetime) -> int:
    late = [
        recipient
        for recipient in recipients
        if recipient.state in (Recipient.State.QUEUED, Recipient.State.SENDING)
        and bounces.wants(recipient.notify, "DELAY")
    ]
    messages = Message.objects.in_bulk({recipient.message_id for recipient in late})
    warned = Message.objects.filter(report=Message.Report.DELAY, report_of__in=messages)
    done = set(warned.values_list("report_of", flat=True))
    batch = Batch.load(messages, late, now)
    about: dict[int, list[Recipient]] = {}
    for recipient in late:
        if recipient.message_id not in done and batch.may_be_told(recipient):
            about.setdefault(recipient.message_id, []).append(recipient)
    ways = batch.ways(about)
    about = {message_id: some for message_id, some in about.items() if message_id in ways}
    return len(about) - len(reports.write(batch, about, ways, Message.Report.DELAY))
