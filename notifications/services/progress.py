"""The steps of a notification's own progress: conditional updates, each on the state that it needs.

A claim is the row's `claimed_at`: whoever wrote it holds the row, and every attempt renews it. A claim that
another process took over changes nothing any more. Progress is not a decision: it writes no audit row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from notifications import rules
from notifications.models import Attempt, ContactPoint, Notification, NotificationQuerySet

State = Notification.State
T = TypeVar("T")

# After an accepted message the result is worth waiting for: a restarting database is back in seconds.
PERSIST_SECONDS = (0.2, 1, 3, 6, 10)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended, in the provider's words. `retry_after` is in seconds."""

    state: Attempt.State
    words: str
    retry_after: float | None = None


def keep_trying(operation: Callable[[], T]) -> T:
    """Run `operation` until the database takes it; a lost connection is replaced by a new one."""
    for seconds in PERSIST_SECONDS:
        try:
            return operation()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            connection.close()
            time.sleep(seconds)
    return operation()


def put_right(now: datetime) -> int:
    """End waits and claims that a clock made which was ahead and has been put back. Returns how many."""
    waiting = Notification.objects.filter(state=State.PENDING, due_at__gt=now + rules.LONGEST_WAIT)
    claimed = Notification.objects.filter(state=State.SENDING, claimed_at__gt=now + rules.STUCK_AFTER)
    return waiting.update(due_at=now) + claimed.update(claimed_at=now)


def claim(notification_id: int, now: datetime) -> bool:
    """Take a pending notification that is due."""
    due = Notification.objects.filter(pk=notification_id, state=State.PENDING, due_at__lte=now)
    return due.update(state=State.SENDING, claimed_at=now) == 1


def take_over(notification_id: int, now: datetime) -> bool:
    """Take a notification whose sender is gone. Whether its attempt arrived is unknown."""
    with transaction.atomic():
        stuck = Notification.objects.stuck(now - rules.STUCK_AFTER).filter(pk=notification_id)
        if stuck.order_by().update(claimed_at=now) != 1:
            return False
        Attempt.objects.filter(notification=notification_id, state=Attempt.State.SENDING).update(
            state=Attempt.State.UNKNOWN,
            finished_at=now,
            provider_reply=_("The gateway stopped while sending; it may have arrived."),
        )
    return True


def begin(
    notification_id: int, held: datetime, point: ContactPoint, *, repeat: bool, now: datetime
) -> Attempt | None:
    """Write down the intent to use `point`, and renew the claim; None when the claim is lost."""
    with transaction.atomic():
        if _held(notification_id, held).update(claimed_at=now) != 1:
            return None
        return Attempt.objects.create(
            notification_id=notification_id,
            point=point,
            channel=point.channel,
            started_at=now,
            repeat=repeat,
        )


def finish(attempt: Attempt, outcome: Outcome, now: datetime) -> bool:
    """Write down how an attempt ended; also when it was given up as unknown meanwhile.

    False when a receipt has told the end already: that stays.
    """
    unfinished = (Attempt.State.SENDING, Attempt.State.UNKNOWN)
    ended = Attempt.objects.filter(pk=attempt.pk, state__in=unfinished).update(
        state=outcome.state,
        provider_reply=outcome.words,
        finished_at=now,
        retry_at=rules.retry_at(outcome.retry_after, now),
    )
    return ended == 1


def sent(notification_id: int, held: datetime, now: datetime, held_back: str = "") -> None:
    """The provider has accepted it."""
    arrived = Attempt.objects.filter(notification=notification_id, state=Attempt.State.DELIVERED).exists()
    state = State.DELIVERED if arrived else State.SENT
    _held(notification_id, held).update(state=state, sent_at=now, held_back=held_back)


def wait(notification_id: int, held: datetime, due: datetime, held_back: str = "") -> None:
    """Back to pending until `due`: every contact point failed for now, or is held back by a limit."""
    _held(notification_id, held).update(state=State.PENDING, due_at=due, claimed_at=None, held_back=held_back)


def failed(notification_id: int, held: datetime, reason: str) -> None:
    """Given up, for this reason."""
    _held(notification_id, held).update(state=State.FAILED, failure=reason, held_back="")


def _held(notification_id: int, held: datetime) -> NotificationQuerySet:
    return Notification.objects.filter(pk=notification_id, state=State.SENDING, claimed_at=held)
