"""The mail of an event: what was accepted or waiting from the start of the outage to the end of the drain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import AuditEntry
from delivery.models import NextHop
from delivery.reads import Scope
from events.models import ContinuityEvent
from monitoring.models import Outage

STRETCH = 200


@dataclass(frozen=True)
class Span:
    """From the first failure to the last message of the backlog. `draining`: the end is now, and moves on."""

    start: datetime
    end: datetime
    draining: bool

    def scope(self, account_id: int) -> Scope:
        return Scope(account_id, self.start, self.end, waiting_at_start=True)


def overlapping(event: ContinuityEvent, until: datetime) -> QuerySet[Outage]:
    """The outages that lasted at some time of the event, up to `until`."""
    lasting = Q(closed_at=None) | Q(closed_at__gte=event.starts_at)
    return Outage.objects.filter(lasting, account=event.account_id, opened_at__lte=until)


def span(event: ContinuityEvent, now: datetime) -> Span:
    """The stretch of an event whose mail belongs to it; three queries.

    It begins with the first failed window of the outages that overlap the event, or with the event. It ends
    when the routes are up again after it, in the words of the audit: `route.up` is written once all that had
    waited was tried.
    """
    over = event.ended_at or event.ends_at
    until = min(over, now)
    start = min([event.starts_at, *overlapping(event, until).values_list("failing_since", flat=True)])
    # By the index of the topic, and no further than needed: years may have gone by since.
    rows = AuditEntry.objects.filter(
        account=event.account_id,
        topic="route",
        at__gte=start,
        action__in=("route.down", "route.recovering", "route.up"),
    )
    away: set[object] = set()
    end = until
    for _, action, at, details in _stretches(rows):
        if not away and at > until:
            break
        hop = details.get("next_hop")
        if action != "route.up":
            away.add(hop)
        elif hop in away:
            away.discard(hop)
            end = max(end, at)
    still = NextHop.objects.filter(route__account=event.account_id, pk__in=[hop for hop in away if hop])
    still = still.filter(state__in=(NextHop.State.DOWN, NextHop.State.RECOVERING))
    draining = now < over or still.exists()
    return Span(start, now if draining else end, draining)


def _stretches(rows: QuerySet[AuditEntry]) -> Iterator[tuple[int, str, datetime, Any]]:
    """Number, action, instant, details by time, a stretch at a time: a cursor would read all of them."""
    rows = rows.order_by("at", "number")
    stretch = list(rows.values_list("number", "action", "at", "details")[:STRETCH])
    while stretch:
        yield from stretch
        number, _, at, _ = stretch[-1]
        rest = (
            rows.filter(Q(at__gt=at) | Q(number__gt=number), at__gte=at) if len(stretch) == STRETCH else None
        )
        stretch = (
            list(rest.values_list("number", "action", "at", "details")[:STRETCH]) if rest is not None else []
        )
