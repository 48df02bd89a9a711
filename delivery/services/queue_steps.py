"""Carrying out what was asked for many recipients of the queue, step by step.

Each step is one transaction, which also stores how far it came: killed at any line the action goes on from
there, and two workers at one action do each step once. What is being sent at that moment, or is delivered
meanwhile, is left alone and counted as skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import django_rq
from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.services import SCHEDULER, decision
from delivery.models import BulkAction, BulkActionItem, Message, Recipient
from delivery.reads.search import Criteria, Search
from delivery.services.queue_changes import APPLIES_TO, UNDO_APPLIES_TO, Selected, State, change

M = TypeVar("M", Recipient, Message)
logger = logging.getLogger(__name__)

STEP = 500
SLICE_SECONDS = 20.0  # then others in the job queue have their turn
GIVE_WAY = 0.01  # seconds between two steps, for whoever else writes
ABANDONED = timedelta(seconds=15)


def enqueue(action_id: int) -> None:
    """Tell a worker at once. When Redis is away the sweep finds the row."""
    try:
        django_rq.get_queue("bulk").enqueue("delivery.jobs.bulk_action", action_id, result_ttl=0)
    except RedisError as error:
        logger.warning("bulk action %s waits for the sweep: %s", action_id, type(error).__name__)


def figures(action: BulkAction) -> dict[str, Any]:
    """What an ended action did, for the audit."""
    if action.state == BulkAction.State.RUNNING:
        return {}
    return {"done": action.done, "skipped": action.skipped}


def run(action_id: int, seconds: float = SLICE_SECONDS) -> bool:
    """Carry an action on for so long; True when it is not at its end. Waits for a locked database."""
    until = time.monotonic() + seconds
    failures = 0
    count(action_id)
    while time.monotonic() < until:
        try:
            if not advance(action_id, timezone.now()):
                return False
            failures = 0
        except OperationalError:
            failures += 1
            if failures > 5 or connection.in_atomic_block:
                raise
            close_old_connections()
            time.sleep(failures)
        time.sleep(GIVE_WAY)
    return True


def run_slice(action_id: int) -> None:
    """Carry an action on, and come back to the end of the job queue for the rest."""
    if run(action_id):
        enqueue(action_id)


def sweep(now: datetime) -> int:
    """Carry on with actions that nobody works at: their worker was killed, or Redis was away."""
    running = BulkAction.objects.filter(state=BulkAction.State.RUNNING, beat_at__lt=now - ABANDONED)
    abandoned = list(running.order_by("beat_at").values_list("pk", flat=True)[:10])
    for action_id in abandoned:
        run(action_id, SLICE_SECONDS / len(abandoned))
    return len(abandoned)


def advance(action_id: int, now: datetime) -> bool:
    """One step, committed. False when the action has ended. The end is a decision of the clock."""
    account_id = BulkAction.objects.values_list("account_id", flat=True).get(pk=action_id)
    try:
        with transaction.atomic():
            action = _locked(action_id)
            if not step(action, now):
                raise _Ends
            return True
    except _Ends:
        pass
    with decision(account_id, SCHEDULER, now=now) as made:
        action = _locked(action_id)
        if action.state != BulkAction.State.RUNNING:
            return False
        if step(action, now):
            return True
        made.record("queue.finished", subject=f"bulk:{action.pk}", after=action.kind, **figures(action))
    return False


class _Ends(Exception):  # noqa: N818
    """This step is the last: it must be made under the account lock."""


def _locked(action_id: int) -> BulkAction:
    rows = BulkAction.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("route").get(pk=action_id)


def count(action_id: int) -> None:
    """How many there are to look at, for the progress bar."""
    action = BulkAction.objects.get(pk=action_id)
    if action.total is None:
        total = Search(action.account_id, Criteria.from_json(action.criteria)).to_look_at()
        BulkAction.objects.filter(pk=action_id, total=None).update(total=total)


def step(action: BulkAction, now: datetime) -> bool:
    """Change the next recipients and write down how far it is. Call in a transaction, the row locked."""
    if action.state != BulkAction.State.RUNNING:
        return False
    selected = _next_items(action) if action.undoes_id else _next(action)
    rows = _changeable(action, selected.ids)
    changed = change(action, rows, selected, now)
    BulkActionItem.objects.bulk_create(
        (
            BulkActionItem(action=action, recipient=row, at=now, hop_before_id=row.next_hop_id)
            for row in changed
        ),
        batch_size=STEP,
    )
    action.seen += selected.looked_at
    action.done += len(changed)
    action.skipped += len(selected.ids) - len(changed)
    action.beat_at = now
    if selected.end is None:
        action.state, action.ended_at = BulkAction.State.DONE, now
    else:
        action.at, action.last_id = selected.end
    action.save()
    return selected.end is not None


def _next(action: BulkAction) -> Selected:
    place = (action.at, action.last_id) if action.at else None
    search = Search(action.account_id, Criteria.from_json(action.criteria))
    return Selected(*search.stretch(place, STEP))


def _next_items(action: BulkAction) -> Selected:
    items = list(
        BulkActionItem.objects.filter(action=action.undoes_id, pk__gt=action.last_id)
        .order_by("pk")
        .values_list("pk", "recipient_id", "hop_before_id")[:STEP]
    )
    end = (action.made_at, items[-1][0]) if len(items) == STEP else None
    hops = {recipient_id: hop_id for _pk, recipient_id, hop_id in items}
    return Selected([recipient_id for _pk, recipient_id, _hop in items], end, len(items), hops)


def _changeable(action: BulkAction, ids: Sequence[int]) -> list[Recipient]:
    """Those in a state that the action changes, locked. What somebody else holds just now is left to him."""
    states = (UNDO_APPLIES_TO if action.undoes_id else APPLIES_TO)[action.kind]
    rows = _lockable(Recipient.objects.filter(pk__in=ids, state__in=states)).order_by("pk")
    found = list(rows.only("pk", "message_id", "address", "state", "next_hop_id", "last_reply"))
    given_up = {row.message_id for row in found if row.state == State.EXPIRED}
    if not given_up:
        return found
    # A report about a message is written under its lock, and must find its recipients as they were.
    free = set(_lockable(Message.objects.filter(pk__in=given_up)).values_list("pk", flat=True))
    return [row for row in found if row.state != State.EXPIRED or row.message_id in free]


def _lockable(rows: QuerySet[M]) -> QuerySet[M]:
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, no_key=True, of=("self",))
    return rows
