"""What the clock begins and ends. Each decision about events first brings the rows up to the clock by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from django.db.models import Q
from django.utils import timezone

from accounts.services import SCHEDULER, Decision, decision
from events.models import ContinuityEvent, EventQuerySet
from events.services import checklist

T = TypeVar("T")
_ACTIVE = ContinuityEvent.State.ACTIVE
_SCHEDULED = ContinuityEvent.State.SCHEDULED


class Behind(Exception):  # noqa: N818  (a step of deciding)
    """The rows say what the clock no longer says."""


def accounts(now: datetime) -> list[int]:
    """Accounts with an event that the clock has begun or ended and no job yet. Index probes."""
    return sorted(set(_due(now).values_list("account", flat=True)))


def settled(account_id: int, now: datetime | None, act: Callable[[], T]) -> T:
    """What `act` returns, once the rows say what the clock says: `act` calls `up_to_date` in its decision.

    The clock's own decisions are others than that of `act`, in transactions of their own.
    """
    while True:
        try:
            return act()
        except Behind:
            settle(account_id, now or timezone.now())


def up_to_date(decided: Decision) -> None:
    """Raises Behind when the clock has begun or ended something that the rows do not say."""
    if _due(decided.now).filter(account=decided.account).exists():
        raise Behind


def settle(account_id: int, now: datetime) -> int:
    """Begin and end what is due, in the order in which it was; returns how many events began or ended."""
    moved = 0
    with decision(account_id, SCHEDULER, now=now) as decided:
        while event := _first_due(account_id, now):
            if event.state == _SCHEDULED:
                moved += _replace(event, decided)
                _begin(event, decided)
            else:
                close(event, decided, ContinuityEvent.Ended.RAN_OUT, event.ends_at)
                decided.record("event.ran_out", subject=f"event:{event.pk}", before="active", after="ended")
                checklist.open_for(decided, event)
            moved += 1
    return moved


def close(event: ContinuityEvent, decided: Decision, how: ContinuityEvent.Ended, ended_at: datetime) -> None:
    """The event is over."""
    event.state, event.ended, event.ended_at = ContinuityEvent.State.ENDED, how, ended_at
    event.ended_by = decided.actor.name
    event.save(update_fields=["state", "ended", "ended_at", "ended_by"])


def _due(now: datetime) -> EventQuerySet:
    return ContinuityEvent.objects.filter(
        Q(state=_ACTIVE, ends_at__lte=now) | Q(state=_SCHEDULED, starts_at__lte=now)
    )


def _first_due(account_id: int, now: datetime) -> ContinuityEvent | None:
    """What comes first: an end before a start at the same instant."""

    def when(event: ContinuityEvent) -> tuple[datetime, bool, int]:
        begins = event.state == _SCHEDULED
        return (event.starts_at if begins else event.ends_at, begins, event.pk)

    return min(_due(now).filter(account_id=account_id), key=when, default=None)


def _replace(event: ContinuityEvent, decided: Decision) -> int:
    """What a scheduled start meets ends there: the definition was made for that time."""
    current = ContinuityEvent.objects.filter(
        account=decided.account, scope=event.scope, state=_ACTIVE
    ).first()
    if current is None:
        return 0
    close(current, decided, ContinuityEvent.Ended.REPLACED, event.starts_at)
    decided.record(
        "event.replaced", subject=f"event:{current.pk}", before="active", after="ended", by_event=event.pk
    )
    return 1


def _begin(event: ContinuityEvent, decided: Decision) -> None:
    event.state = _ACTIVE
    event.save(update_fields=["state"])
    began(event, decided)


def began(event: ContinuityEvent, decided: Decision) -> None:
    """Record that the clock or a rule began an event; whether others are told is the feed's matter."""
    decided.record(
        "event.began",
        subject=f"event:{event.pk}",
        before="inactive",
        after="active",
        until=event.ends_at.isoformat(),
        began=str(event.began),
        scope=event.scope,
    )
