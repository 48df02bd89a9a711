"""What a provider tells later: whether a message that it had accepted has arrived."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Coalesce

from notifications.models import Attempt, Notification
from notifications.services.outbox import send_soon
from notifications.services.points import disable_point

State = Attempt.State
MAY_FAIL_YET = (State.SENDING, State.SENT, State.UNKNOWN)


def take_receipt(
    message_id: str, *, delivered: bool, number_is_no_use: bool, words: str, now: datetime
) -> None:
    """Write down what became of an attempt, `message_id` being the one it was sent under.

    A receipt may come twice, out of order, before we have written down that the provider accepted the
    message, or never: what arrived has arrived, and a failure counts once. After a failure the next contact
    point is used. Unknown ids change nothing.
    """
    notification_id, _dot, attempt_id = message_id.partition(".")
    with transaction.atomic():
        attempt = (
            Attempt.objects.filter(pk=int(attempt_id), notification=int(notification_id))
            .select_related("notification")
            .first()
        )
        if attempt is None:
            return
        told = {"receipt_at": now, "provider_reply": f"{attempt.provider_reply} – {words}".strip(" –")}
        if delivered:
            _delivered(attempt, told, now)
        else:
            _not_delivered(attempt, told, number_is_no_use, words, now)


def _delivered(attempt: Attempt, told: dict[str, object], now: datetime) -> None:
    open_yet = Attempt.objects.filter(pk=attempt.pk).exclude(state=State.DELIVERED)
    if open_yet.update(state=State.DELIVERED, **told) == 1:
        # One that goes to more contact points goes on: its sender finds out what arrived.
        ended = Q(points_wanted=1) | Q(state__in=(Notification.State.SENT, Notification.State.FAILED))
        Notification.objects.filter(ended, pk=attempt.notification_id).update(
            state=Notification.State.DELIVERED,
            sent_at=Coalesce("sent_at", Value(now)),
            held_back="",
            failure="",
        )


def _not_delivered(
    attempt: Attempt, told: dict[str, object], number_is_no_use: bool, words: str, now: datetime
) -> None:
    if attempt.state not in MAY_FAIL_YET:
        return
    # The account's lock comes before the row's, as when an attempt ends.
    if number_is_no_use and attempt.point_id:
        disable_point(attempt.notification.account_id, attempt.point_id, words, now)
    state = State.PERMANENT if number_is_no_use else State.TEMPORARY
    if Attempt.objects.filter(pk=attempt.pk, state__in=MAY_FAIL_YET).update(state=state, **told) != 1:
        return
    others = Attempt.objects.filter(notification=attempt.notification_id, state__in=MAY_FAIL_YET)
    if others.exists():
        return
    # Its round goes on where it ended, with the next contact point.
    told_nobody = (Notification.State.SENT, Notification.State.FAILED)
    back = Notification.objects.filter(pk=attempt.notification_id, state__in=told_nobody)
    if back.update(state=Notification.State.PENDING, claimed_at=None, sent_at=None, failure="") == 1:
        send_soon(attempt.notification_id)
