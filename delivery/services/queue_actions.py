"""What people do to mail in the queue: to one recipient, to many, to all that match a filter.

Up to `AT_ONCE` are changed in the decision itself. More are changed by a job (`queue_steps`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from accounts.services import Actor, Decision, Refused, decision
from delivery.models import BulkAction, Recipient, Route
from delivery.reads.search import Criteria, Search
from delivery.services.queue_changes import UNDO, Kind
from delivery.services.queue_steps import enqueue, figures, step

AT_ONCE = 100


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
            **figures(action),
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
        made.record("queue.stopped", subject=f"bulk:{action.pk}", **figures(action))
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
            "queue.undone", subject=f"bulk:{action.pk}", reason=reason, by_action=back.pk, **figures(back)
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


def _begin(action: BulkAction, made: Decision, *, at_once: bool) -> None:
    action.made_at = action.beat_at = made.now
    action.made_by = made.actor.name
    action.save(force_insert=True)
    if not at_once:
        transaction.on_commit(partial(enqueue, action.pk))
        return
    while step(action, made.now):
        pass
