"""The mail of an event: what was accepted or waiting from the start of the outage to the end of the drain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import AuditEntry
from delivery.models import NextHop
from delivery.reads import Scope
from events.models import ContinuityEvent
from monitoring.models import Outage


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
    ).order_by("at", "number")
    away: set[object] = set()
    end = until
    for action, at, details in rows.values_list("action", "at", "details").iterator(chunk_size=200):
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
