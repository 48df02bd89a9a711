"""Into the outbox: a row in the transaction that decided it, a job once that is committed."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import django_rq
from django.db import transaction
from django.db.models import F
from redis.exceptions import RedisError

from accounts.models import Contact
from accounts.services import Decision
from notifications import rules
from notifications.models import ContactPoint, Notification

logger = logging.getLogger(__name__)


def notify(
    decision: Decision,
    contact: Contact,
    kind: str,
    context: dict[str, Any],
    dedupe_key: str,
    *,
    point: ContactPoint | None = None,
) -> Notification | None:
    """Put one notification into the outbox, within the transaction of `decision`.

    `kind` names the templates. `context` holds their facts as JSON values, times as ISO 8601 UTC;
    `stale_minutes` in it overrides how long it stays worth sending. `dedupe_key` names what is told to
    whom and in which slot: None is returned when it is in the outbox already. `point` is the one contact
    point that a verification code or a test is for.
    """
    notification, created = Notification.objects.get_or_create(
        dedupe_key=dedupe_key,
        defaults={
            "account": decision.account,
            "contact": contact,
            "point": point,
            "points_wanted": 1 if point or contact.telling == Contact.Telling.IN_ORDER else rules.ALL_POINTS,
            "kind": kind,
            "context": context,
            "created_at": decision.now,
            "due_at": decision.now,
        },
    )
    if not created:
        return None
    send_soon(notification.pk)
    return notification


def next_point(decision: Decision, notification_id: int) -> bool:
    """Nobody has seen it: one more contact point is to have it. Says whether it was still as it was found."""
    told = (Notification.State.SENT, Notification.State.DELIVERED)
    moved = Notification.objects.filter(pk=notification_id, account=decision.account, state__in=told).update(
        state=Notification.State.PENDING,
        points_wanted=F("points_wanted") + 1,
        due_at=decision.now,
        claimed_at=None,
    )
    if moved == 1:
        send_soon(notification_id)
    return moved == 1


def send_soon(notification_id: int) -> None:
    """Have a worker send it once this transaction is committed."""
    transaction.on_commit(partial(_enqueue, notification_id))


def _enqueue(notification_id: int) -> None:
    """Tell a worker at once. When Redis is away the sweep finds the row."""
    try:
        django_rq.get_queue("alerts").enqueue("notifications.jobs.send", notification_id, result_ttl=0)
    except RedisError as error:
        logger.warning("notification %s waits for the sweep: %s", notification_id, type(error).__name__)
