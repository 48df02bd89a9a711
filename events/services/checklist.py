"""The checklist of an ended event: opened once, written down as its matters are settled, waived, reminded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.utils.translation import gettext as _

from accounts.services import SCHEDULER, Actor, Decision, Refused, decision
from events import checklist_reads as reads
from events import checklist_rules as rules
from events.checklist_rules import Fact
from events.models import Checklist, ChecklistItem, ContinuityEvent
from events.services import notices
from events.words import TODO

Kind, State = ChecklistItem.Kind, ChecklistItem.State


def open_for(made: Decision, event: ContinuityEvent) -> None:
    """Open the checklist of an event in the decision that ended it.

    A drill has a report instead, and where another event took its place continuity mode goes on.
    """
    if event.began == event.Began.DRILL or event.ended == event.Ended.REPLACED:
        return
    # Looked at by the next tick: how things are is not counted under the account's lock.
    checklist = Checklist.objects.create(
        account=made.account, event=event, opened_at=made.now, looked_at=made.now - rules.LOOK
    )
    ChecklistItem.objects.bulk_create(ChecklistItem(checklist=checklist, kind=kind) for kind in Kind)
    made.record("checklist.opened", subject=_subject(checklist), after=event.title[:160], event=event.pk)


def accounts(now: datetime) -> list[int]:
    """Accounts with an open checklist that was not looked at lately."""
    due = Checklist.objects.filter(closed_at=None, looked_at__lte=now - rules.LOOK)
    return list(due.order_by("account").values_list("account", flat=True).distinct())


def decide(account_id: int, now: datetime) -> int:
    """Write down what was settled or undone since, and remind; returns how many things were decided.

    How things are is read before the account's lock is taken, and a decision is made only when it differs.
    """
    lists = Checklist.objects.filter(account=account_id, closed_at=None).select_related("event")
    found: dict[int, dict[str, Fact]] = {}
    news = False
    for checklist in lists.prefetch_related("items"):
        items = checklist.items.all()
        facts = found[checklist.pk] = reads.facts(checklist, items, now)
        news |= any(rules.moved(item.state, facts[item.kind].done) != item.state for item in items)
    Checklist.objects.filter(pk__in=found).update(looked_at=now)
    if not (news or _reminder_due(account_id, now)):
        return 0
    decided = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        for checklist in lists:
            decided += _write(made, checklist, found.get(checklist.pk, {}))
        if _reminder_due(account_id, made.now):
            decided += _remind(made)
    return decided


def waive(
    account_id: int,
    actor: Actor,
    event_id: int,
    kind: str,
    reason: str,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """Do without an item. Raises Refused when it is not open or no reason is given, AlreadyDone."""
    reason = reason.strip()[:500]
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        checklist, item = _item(account_id, event_id, kind)
        if not reason:
            raise Refused(_("Say why it can be done without: whoever looks at this event later will ask."))
        if item.state != State.OPEN:
            raise Refused(_("This item is not open any more."))
        item.state, item.reason = State.WAIVED, reason
        item.settled_at, item.settled_by = made.now, actor.name
        item.save()
        made.record(
            "checklist.item_waived",
            subject=_subject(checklist),
            before=State.OPEN,
            after=State.WAIVED,
            reason=reason,
            item=kind,
        )
        _close_or_open(made, checklist)


def take_back(
    account_id: int,
    actor: Actor,
    event_id: int,
    kind: str,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """Take a waiver back: the item counts again. Raises Refused when it is not waived, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        checklist, item = _item(account_id, event_id, kind)
        if item.state != State.WAIVED:
            raise Refused(_("This item is not waived."))
        item.state, item.reason, item.settled_at, item.settled_by = State.OPEN, "", None, ""
        item.save()
        made.record(
            "checklist.waiver_ended",
            subject=_subject(checklist),
            before=State.WAIVED,
            after=State.OPEN,
            item=kind,
        )
        _close_or_open(made, checklist)


def note_calls(made: Decision, event_id: int | None) -> None:
    """A call of this event was logged, settled or opened again: its item moves too, even in a closed list."""
    checklist = Checklist.objects.filter(event=event_id).first() if event_id else None
    if checklist:
        _write(made, checklist, {Kind.CALLS: Fact(False)})


def _write(made: Decision, checklist: Checklist, found: Mapping[str, Fact]) -> int:
    """Move items to where their facts are, each with a row of the audit; close the list when all are through.

    Calls are counted under the lock: a list that is closed is looked at no more.
    """
    written = 0
    if Kind.CALLS in found:
        found = {**found, Kind.CALLS: reads.calls(checklist.event_id)}
    for item in checklist.items.order_by("pk").filter(kind__in=found):
        fact = found[item.kind]
        before, after = item.state, rules.moved(item.state, fact.done)
        if after == before:
            continue
        item.state = State(after)
        item.settled_by = fact.by if fact.done else ""
        item.settled_at = (fact.at or made.now) if fact.done else None
        item.save()
        action = "checklist.item_settled" if fact.done else "checklist.item_undone"
        made.record(
            action, subject=_subject(checklist), before=before, after=after, item=item.kind, who=fact.by
        )
        written += 1
    return written + (_close_or_open(made, checklist) if written else 0)


def _close_or_open(made: Decision, checklist: Checklist) -> int:
    """Close a list whose items are all through; open it again when one is not. Says whether it changed."""
    through = not checklist.items.filter(state=State.OPEN).exists()
    if through == (checklist.closed_at is not None):
        return 0
    checklist.closed_at = made.now if through else None
    checklist.save(update_fields=["closed_at"])
    made.record("checklist.closed" if through else "checklist.reopened", subject=_subject(checklist))
    return 1


def _item(account_id: int, event_id: int, kind: str) -> tuple[Checklist, ChecklistItem]:
    checklist = Checklist.objects.filter(account=account_id, event=event_id).first()
    item = checklist.items.filter(kind=kind).first() if checklist else None
    if checklist is None or item is None:
        raise Refused(_("There is no such item."))
    return checklist, item


def _subject(checklist: Checklist) -> str:
    return f"event:{checklist.event_id}"


def _reminder_due(account_id: int, now: datetime) -> bool:
    opened = Checklist.objects.filter(account=account_id, closed_at=None).values_list("opened_at", flat=True)
    return rules.reminder_due(
        list(opened), notices.last_at(account_id, "checklist", "checklist.reminded"), now
    )


def _remind(made: Decision) -> int:
    """One reminder of all that is open, named after the event that waits longest."""
    items = ChecklistItem.objects.filter(
        checklist__account=made.account, checklist__closed_at=None, state=State.OPEN
    ).order_by("checklist", "pk")
    rows = list(items.values_list("kind", "checklist__event__title", "checklist__event__ended_at"))
    if not rows:
        return 0
    _kind, title, ended_at = rows[0]
    assert ended_at  # it has a checklist, so it has ended
    facts = {
        "event": title,
        "since": ended_at.isoformat(),
        "number": len(rows),
        "todo": [TODO[kind] for kind in dict.fromkeys(kind for kind, *_rest in rows)],
    }
    entry = made.record("checklist.reminded", subject="checklist", number=len(rows))
    notices.tell(made, entry, "checklist", facts)
    return 1
