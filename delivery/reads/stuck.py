"""Whether our own courier does its work."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, F, Min, OuterRef, Q, Subquery

from delivery.models import Attempt, NextHop, Pause, Recipient, Route

STUCK = timedelta(minutes=10)


def stuck_for(now: datetime) -> timedelta | None:
    """How long mail has been due that nobody even tried to send; None when the queue moves, as it should.

    A mail server that is down does not make it stuck: it is tried every two minutes at least. Index look-ups
    only, however long the queue is.
    """
    since = now - STUCK
    due = Recipient.objects.filter(
        next_hop=OuterRef("pk"), state=Recipient.State.QUEUED, next_attempt_at__lte=since
    ).order_by("next_attempt_at")
    paused = Pause.objects.filter(
        Q(ended_at=None) | Q(ended_at__gt=since), account=OuterRef("route__account")
    )
    tried = Attempt.objects.filter(next_hop=OuterRef("pk"), at__gt=since)
    hops = (
        NextHop.objects.filter(Exists(due))
        .filter(Q(not_before=None) | Q(not_before__lte=since))
        .exclude(Q(Exists(paused), route__kind=Route.Kind.INBOUND))
        .exclude(Exists(tried))
        .annotate(due_since=Subquery(due.values("next_attempt_at")[:1]))
    )
    oldest = hops.aggregate(oldest=Min(F("due_since")))["oldest"]
    return now - oldest if oldest else None
