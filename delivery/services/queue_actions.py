"""What people do to mail in the queue: to one recipient, to many, to all that match a filter.

Up to `AT_ONCE` are changed in the decision itself. More are changed by a job, `STEP` in a transaction, which
also stores how far it came: killed at any line it goes on from there, and two at once do no harm. What is
being sent at that moment, or is delivered meanwhile, is left alone and counted as skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import django_rq
from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.services import SCHEDULER, Actor, Decision, Refused, decision
from delivery.models import BulkAction, BulkActionItem, Message, Recipient, Route
from delivery.reads.search import Criteria, Place, Search
from delivery.services.redirecting import redirect_batch

M = TypeVar("M", Recipient, Message)
logger = logging.getLogger(__name__)

AT_ONCE = 100
STEP = 500
SLICE_SECONDS = 20.0  # then others in the job queue have their turn
GIVE_WAY = 0.01  # seconds between two steps, for whoever else writes
ABANDONED = timedelta(seconds=15)

Kind, State = BulkAction.Kind, Recipient.State
APPLIES_TO: dict[str, tuple[Recipient.State, ...]] = {
    Kind.RETRY: (State.QUEUED,),
    Kind.HOLD: (State.QUEUED, State.EXPIRED),
    Kind.RELEASE: (State.HELD, State.QUARANTINED),
    Kind.REDIRECT: (State.QUEUED, State.HELD, State.QUARANTINED),
    Kind.BOUNCE: (State.QUEUED, State.HELD, State.QUARANTINED),
    Kind.REJECT: (State.QUEUED, State.HELD, State.QUARANTINED, State.EXPIRED),
}
UNDO: dict[str, BulkAction.Kind] = {
    Kind.HOLD: Kind.RELEASE,
    Kind.RELEASE: Kind.HOLD,
    Kind.REDIRECT: Kind.REDIRECT,
}
UNDO_APPLIES_TO: dict[str, tuple[Recipient.State, ...]] = {
    Kind.RELEASE: (State.HELD,),
    Kind.HOLD: (State.QUEUED,),
    Kind.REDIRECT: (State.QUEUED, State.HELD, State.QUARANTINED),
}
RETURNED = "returned by an administrator of the receiving organisation"


def frozen(criteria: Criteria) -> Criteria:
    """The same selection, without what is accepted from now on."""
    newest = Recipient.objects.aggregate(pk=Max("pk"))["pk"] or 0
    upto = newest if criteria.upto is None else min(criteria.upto, newest)
    return replace(criteria, upto=upto)


def start(
    account_id: int,
    actor: Actor,
    kind: str,
    criteria: Criteria,
    *,
    reason: str,
    route: Route | None = None,
    request_key: str | None = None,
    now: datetime | None = None,
) -> BulkAction:
    """Act on all that the criteria select at this moment.

    Raises Refused without a reason, when nothing is selected any more, and for a route of somebody else.
    """
    reason = _given(reason)
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        if kind == Kind.REDIRECT and (route is None or route.account_id != account_id):
            raise Refused(_("Choose the route that the mail should take."))
        criteria = frozen(criteria)
        count = Search(account_id, criteria).count(trying=True)
        assert count
        if not count.number and not count.more:
            raise Refused(_("Nothing matches any more. Nothing was changed."))
        action = BulkAction(
            account_id=account_id, kind=kind, criteria=criteria.as_json(), route=route, reason=reason
        )
        _begin(action, made, at_once=count.number <= AT_ONCE and not count.more)
        made.record(
            f"queue.{kind}",
            subject=f"bulk:{action.pk}",
            after=route.name if route else "",
            reason=reason,
            criteria=criteria.as_json(),
            count=count.number,
            more=count.more,
            **_figures(action),
        )
        return action


def stop(
    action: BulkAction, actor: Actor, *, request_key: str | None = None, now: datetime | None = None
) -> BulkAction:
    """Go no further; what was changed stays so. Raises Refused when it has ended."""
    with decision(action.account_id, actor, request_key=request_key, now=now) as made:
        action = BulkAction.objects.select_for_update(no_key=True, of=("self",)).get(pk=action.pk)
        if action.state != BulkAction.State.RUNNING:
            raise Refused(_("It has ended already."))
        action.state, action.ended_at = BulkAction.State.STOPPED, made.now
        action.save(update_fields=["state", "ended_at"])
        made.record("queue.stopped", subject=f"bulk:{action.pk}", **_figures(action))
        return action


def undo(
    action: BulkAction,
    actor: Actor,
    *,
    reason: str,
    request_key: str | None = None,
    now: datetime | None = None,
) -> BulkAction:
    """Take back what an action did to mail that is still as the action left it. Raises Refused."""
    reason = _given(reason)
    with decision(action.account_id, actor, request_key=request_key, now=now) as made:
        action = BulkAction.objects.select_for_update(no_key=True, of=("self",)).get(pk=action.pk)
        if not may_undo(action):
            raise Refused(_("This cannot be undone."))
        if BulkAction.objects.filter(undoes=action).exists():
            raise Refused(_("This was undone already."))
        back = BulkAction(
            account_id=action.account_id,
            kind=UNDO[action.kind],
            undoes=action,
            route=action.route,
            reason=reason,
            total=action.done,
        )
        _begin(back, made, at_once=action.done <= AT_ONCE)
        made.record(
            "queue.undone", subject=f"bulk:{action.pk}", reason=reason, by_action=back.pk, **_figures(back)
        )
        return back


def may_undo(action: BulkAction) -> bool:
    """Whether the action is of a kind that can be taken back, has ended, and changed something."""
    ended = action.state != BulkAction.State.RUNNING
    return ended and action.undoes_id is None and action.kind in UNDO and action.done > 0


def _given(reason: str) -> str:
    if not reason.strip():
        raise Refused(_("Say why: the reason is kept with the action."))
    return reason.strip()[:500]


def _figures(action: BulkAction) -> dict[str, Any]:
    if action.state == BulkAction.State.RUNNING:
        return {}
    return {"done": action.done, "skipped": action.skipped}


def _begin(action: BulkAction, made: Decision, *, at_once: bool) -> None:
    action.made_at = action.beat_at = made.now
    action.made_by = made.actor.name
    action.save(force_insert=True)
    if not at_once:
        transaction.on_commit(partial(_enqueue, action.pk))
        return
    while _step(action, made.now):
        pass


def _enqueue(action_id: int) -> None:
    """Tell a worker at once. When Redis is away the sweep finds the row."""
    try:
        django_rq.get_queue("bulk").enqueue("delivery.jobs.bulk_action", action_id, result_ttl=0)
    except RedisError as error:
        logger.warning("bulk action %s waits for the sweep: %s", action_id, type(error).__name__)


# --- Carrying it out


def run(action_id: int, seconds: float = SLICE_SECONDS) -> bool:
    """Carry an action on for so long; True when it is not at its end. Waits for a locked database."""
    until = time.monotonic() + seconds
    failures = 0
    _count(action_id)
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
        _enqueue(action_id)


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
            if not _step(action, now):
                raise _Ends
            return True
    except _Ends:
        pass
    with decision(account_id, SCHEDULER, now=now) as made:
        action = _locked(action_id)
        if action.state != BulkAction.State.RUNNING:
            return False
        if _step(action, now):
            return True
        made.record("queue.finished", subject=f"bulk:{action.pk}", after=action.kind, **_figures(action))
    return False


class _Ends(Exception):  # noqa: N818
    """This step is the last: it must be made under the account lock."""


def _locked(action_id: int) -> BulkAction:
    rows = BulkAction.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("route").get(pk=action_id)


def _count(action_id: int) -> None:
    """How many there are to look at, for the progress bar."""
    action = BulkAction.objects.get(pk=action_id)
    if action.total is None:
        total = Search(action.account_id, Criteria.from_json(action.criteria)).to_look_at()
        BulkAction.objects.filter(pk=action_id, total=None).update(total=total)


@dataclass
class _Selected:
    """The recipients of one step; `hops` says where an undone redirect leads back to."""

    ids: Sequence[int]
    end: Place | None
    looked_at: int
    hops: Mapping[int, int | None] = field(default_factory=dict)


def _step(action: BulkAction, now: datetime) -> bool:
    """Change the next recipients and write down how far it is. Call in a transaction, the row locked."""
    if action.state != BulkAction.State.RUNNING:
        return False
    selected = _next_items(action) if action.undoes_id else _next(action)
    rows = _changeable(action, selected.ids)
    changed = _CHANGES[action.kind](action, rows, selected, now)
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


def _next(action: BulkAction) -> _Selected:
    place = (action.at, action.last_id) if action.at else None
    search = Search(action.account_id, Criteria.from_json(action.criteria))
    return _Selected(*search.stretch(place, STEP))


def _next_items(action: BulkAction) -> _Selected:
    items = list(
        BulkActionItem.objects.filter(action=action.undoes_id, pk__gt=action.last_id)
        .order_by("pk")
        .values_list("pk", "recipient_id", "hop_before_id")[:STEP]
    )
    end = (action.made_at, items[-1][0]) if len(items) == STEP else None
    hops = {recipient_id: hop_id for _pk, recipient_id, hop_id in items}
    return _Selected([recipient_id for _pk, recipient_id, _hop in items], end, len(items), hops)


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


# --- The actions. Each returns those that it changed, as they were before.


def _update(rows: Sequence[Recipient], **changes: object) -> Sequence[Recipient]:
    Recipient.objects.filter(pk__in=[row.pk for row in rows]).update(**changes)
    return rows


def _retry(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, next_attempt_at=now)


def _hold(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.HELD)


def _release(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.QUEUED, faults=0, next_attempt_at=now)


def _bounce(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    _update([row for row in rows if not row.last_reply], last_reply=RETURNED)
    return _update(rows, state=State.EXPIRED, next_attempt_at=now)


def _reject(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.REJECTED, final_at=now)


def _redirect(
    action: BulkAction, rows: Sequence[Recipient], selected: _Selected, now: datetime
) -> Sequence[Recipient]:
    if action.undoes_id:
        return _redirect_back(rows, selected.hops, now)
    if action.route is None:  # deleted meanwhile
        return ()
    moved = redirect_batch([row.pk for row in rows], action.route, now)
    return [row for row in rows if row.pk in moved]


def _redirect_back(
    rows: Sequence[Recipient], hops: Mapping[int, int | None], now: datetime
) -> Sequence[Recipient]:
    by_hop: dict[int, list[Recipient]] = {}
    for row in rows:
        if (hop_id := hops.get(row.pk)) is not None:
            by_hop.setdefault(hop_id, []).append(row)
    for hop_id, some in by_hop.items():
        _update(some, next_hop_id=hop_id, next_attempt_at=now)
    return [row for some in by_hop.values() for row in some]


_Change = Callable[[BulkAction, Sequence[Recipient], _Selected, datetime], Sequence[Recipient]]
_CHANGES: dict[str, _Change] = {
    Kind.RETRY: _retry,
    Kind.HOLD: _hold,
    Kind.RELEASE: _release,
    Kind.REDIRECT: _redirect,
    Kind.BOUNCE: _bounce,
    Kind.REJECT: _reject,
}
