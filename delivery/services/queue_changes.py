"""What each action on the queue changes, and in which states: updates in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from delivery.models import BulkAction, Recipient
from delivery.reads.search import Place
from delivery.services.redirecting import redirect_batch

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


@dataclass
class Selected:
    """The recipients of one step; `hops` says where an undone redirect leads back to."""

    ids: Sequence[int]
    end: Place | None
    looked_at: int
    hops: Mapping[int, int | None] = field(default_factory=dict)


def change(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    """Do to these locked rows what the action says. Returns those changed, as they were before."""
    return _CHANGES[action.kind](action, rows, selected, now)


def _update(rows: Sequence[Recipient], **changes: object) -> Sequence[Recipient]:
    Recipient.objects.filter(pk__in=[row.pk for row in rows]).update(**changes)
    return rows


def _retry(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, next_attempt_at=now)


def _hold(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.HELD)


def _release(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.QUEUED, faults=0, next_attempt_at=now)


def _bounce(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    _update([row for row in rows if not row.last_reply], last_reply=RETURNED)
    return _update(rows, state=State.EXPIRED, next_attempt_at=now)


def _reject(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
) -> Sequence[Recipient]:
    return _update(rows, state=State.REJECTED, final_at=now)


def _redirect(
    action: BulkAction, rows: Sequence[Recipient], selected: Selected, now: datetime
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


_Change = Callable[[BulkAction, Sequence[Recipient], Selected, datetime], Sequence[Recipient]]
_CHANGES: dict[str, _Change] = {
    Kind.RETRY: _retry,
    Kind.HOLD: _hold,
    Kind.RELEASE: _release,
    Kind.REDIRECT: _redirect,
    Kind.BOUNCE: _bounce,
    Kind.REJECT: _reject,
}
