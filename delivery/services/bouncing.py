"""Telling senders: of mail that was given up (a bounce), that is late (a warning), that is handed on.

A report and what it says about its recipients are written in one transaction, under the lock of the message
that it is about: it is sent once, however many do this at the same time, and whenever one of them is killed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from time import monotonic

from django.db import connection, transaction

from delivery import rules
from delivery.models import Message, Recipient
from delivery.rules import bounces
from delivery.services import relaying, reports, warning
from delivery.services.reports import Batch

logger = logging.getLogger(__name__)

AT_ONCE = 50  # messages a transaction
RUN_SECONDS = 5.0  # others want the worker, too; the next run follows at once


def run(now: datetime) -> int:
    """Send what reports are due, bounces first, for some seconds at most. Returns how many were written."""
    until = monotonic() + RUN_SECONDS
    kinds = (bounce_due, warning.warn_due, relaying.relay_due)
    return sum(_while_any(partial(due, now), until) for due in kinds)


def _while_any(work: Callable[[], tuple[int, int]], until: float) -> int:
    written = 0
    while True:
        seen, made = work()
        written += made
        if not seen or monotonic() > until:
            return written


def bounce_due(now: datetime) -> tuple[int, int]:
    """One batch of given-up recipients: told to their senders, or ended without.

    Returns how many recipients were dealt with and how many reports were written. One index probe when
    there is nothing.
    """
    due = Recipient.objects.bounce_due(now)
    candidates = list(dict.fromkeys(due.values_list("message_id", flat=True)[:AT_ONCE]))
    if not candidates:
        return 0, 0
    with transaction.atomic():
        messages = Message.objects.filter(pk__in=candidates).order_by("pk")
        if connection.features.has_select_for_update_skip_locked:
            messages = messages.select_for_update(skip_locked=True, no_key=True, of=("self",))
        locked = {message.pk: message for message in messages}
        recipients = list(
            Recipient.objects.filter(message_id__in=locked, state=Recipient.State.EXPIRED)
            .select_related("next_hop__route")
            .select_for_update(no_key=True, of=("self",))
            .order_by("pk")
        )
        return len(recipients), _settle(Batch.load(locked, recipients, now))


def _settle(batch: Batch) -> int:
    """Decide for each recipient, write the reports, and what became of everybody. Returns the reports."""
    silent: list[Recipient] = []
    due: dict[int, list[Recipient]] = {}
    for recipient in batch.recipients:
        if batch.silence(recipient):
            silent.append(recipient)
        else:
            due.setdefault(recipient.message_id, []).append(recipient)
    ways = batch.ways(due)
    waiting = [one for message_id, some in due.items() if message_id not in ways for one in some]
    told = {message_id: some for message_id, some in due.items() if message_id in ways}
    failed = reports.write(batch, told, ways, Message.Report.FAILURE)
    told = {message_id: some for message_id, some in told.items() if message_id not in failed}
    _end(silent, Recipient.State.REJECTED, batch.now)
    _end([one for some in told.values() for one in some], Recipient.State.BOUNCED, batch.now)
    _update(waiting, next_attempt_at=batch.now + bounces.LOOK_AGAIN)
    _update(
        [one for message_id in failed for one in due[message_id]],
        state=Recipient.State.QUARANTINED,
        faults=rules.FAULTS_TO_QUARANTINE,
    )
    return len(told)


def _end(recipients: list[Recipient], state: Recipient.State, now: datetime) -> None:
    _update(recipients, state=state, final_at=now)


def _update(recipients: list[Recipient], **changes: object) -> None:
    """Raises RuntimeError, so that all is rolled back, when one of them is not what it was."""
    if not recipients:
        return
    ids = [recipient.pk for recipient in recipients]
    found = Recipient.objects.filter(pk__in=ids, state=Recipient.State.EXPIRED).update(**changes)
    if found != len(ids):
        raise RuntimeError("Recipients changed while their bounce was written.")


def look_again(account_id: int, now: datetime) -> int:
    """Bounces of the account that had no way to go look for one now: a route was added."""
    mine = Recipient.objects.filter(next_hop__route__account_id=account_id)
    late = mine.filter(state=Recipient.State.EXPIRED, next_attempt_at__gt=now).values("pk")
    return Recipient.objects.filter(pk__in=late).update(next_attempt_at=now)
