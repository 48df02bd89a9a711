"""Times written by a clock that was ahead and has been put back: what they hold up would wait for days."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from delivery.models import NextHop, Recipient

LONGEST_WAIT = timedelta(hours=9)  # between two attempts: 8 hours and the jitter
HOP_WAIT = timedelta(minutes=5)  # a next hop that waits longer than this is looked at
AT_ONCE = 5000  # rows a transaction


def put_right(now: datetime) -> int:
    """Let what waits longer than the rules ever make it wait be tried now. Returns how much that was.

    Ages and limits stay as they are: mail taken by a clock that was ahead is kept longer, never shorter.
    Costs one index probe for each next hop.
    """
    return _hops(now) + _recipients(now)


def _hops(now: datetime) -> int:
    late = [
        hop.pk
        for hop in NextHop.objects.filter(not_before__gt=now + HOP_WAIT).select_related("route")
        if hop.not_before and hop.not_before > now + timedelta(seconds=hop.route.canary_max_seconds)
    ]
    return NextHop.objects.filter(pk__in=late, not_before__gt=now + HOP_WAIT).update(not_before=now)


def _recipients(now: datetime) -> int:
    waiting = (Recipient.State.QUEUED, Recipient.State.EXPIRED)
    moved = 0
    for state in waiting:
        ahead = Recipient.objects.filter(state=state, next_attempt_at__gt=now + LONGEST_WAIT)
        hops = NextHop.objects.filter(Exists(ahead.filter(next_hop=OuterRef("pk"))))
        for hop_id in list(hops.values_list("pk", flat=True)):
            found = list(ahead.filter(next_hop=hop_id).values_list("pk", flat=True)[:AT_ONCE])
            moved += ahead.filter(pk__in=found).update(next_attempt_at=now)
    return moved
