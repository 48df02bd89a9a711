"""Whether to extend: asked of the contacts before an event runs out with the outage unresolved."""

from __future__ import annotations

from datetime import datetime

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, decision
from events import rules
from events.models import ContinuityEvent
from events.services import notices
from monitoring.models import Outage


def accounts(now: datetime) -> list[int]:
    """Accounts with an event for everyone that runs out soon."""
    soon = ContinuityEvent.objects.active(now).for_everyone()
    return sorted(
        set(soon.filter(ends_at__lte=now + rules.ASKED_BEFORE_END).values_list("account", flat=True))
    )


def decide(account_id: int, now: datetime) -> int:
    """Ask once for each end, so again before the new one of an extension; returns 1 when it was asked."""
    if not _to_ask(account_id, now):
        return 0
    with decision(account_id, SCHEDULER, now=now) as made:
        event = _to_ask(account_id, now)
        if event is None:
            return 0
        until = event.ends_at.isoformat()
        entry = made.record("event.end_asked", subject=_subject(event), until=until)
        notices.tell(made, entry, "ending", {"event": event.title, "until": until})
    return 1


def _to_ask(account_id: int, now: datetime) -> ContinuityEvent | None:
    """The event that runs out soon, unless all outages are over or this end was asked about."""
    event = ContinuityEvent.objects.active(now).for_everyone().filter(account=account_id).first()
    if event is None or event.ends_at > now + rules.ASKED_BEFORE_END:
        return None
    if not Outage.objects.filter(account=account_id, closed_at=None).exists():
        return None
    rows = AuditEntry.objects.filter(account=account_id, subject=_subject(event), action="event.end_asked")
    last = rows.order_by("-number").first()
    return None if last and last.details["until"] == event.ends_at.isoformat() else event


def _subject(event: ContinuityEvent) -> str:
    return f"event:{event.pk}"
