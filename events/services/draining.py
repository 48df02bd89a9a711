"""The end of an outage or a pause as people feel it: the contacts are told once when the queue is through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Q

from accounts.models import AuditEntry, Contact
from accounts.services import SCHEDULER, Decision, decision
from delivery.models import NextHop, Pause, Route
from delivery.reads import Drained, drained_between
from events import rules
from events.models import FeedCursor
from events.services import feed
from monitoring.models import Outage
from notifications import services as notifications

READER = "drained"


@dataclass(frozen=True)
class _End:
    """A mail server whose backlog is through: `entry` is its `route.up`."""

    entry: AuditEntry
    route: Route
    start: datetime
    drained: Drained


def accounts() -> list[int]:
    """Accounts in whose audit something is new."""
    return feed.accounts_behind(READER)


def decide(account_id: int, now: datetime) -> int:
    """Tell of backlogs that are through; returns how many. What they came to is counted before the lock."""
    seen = (
        FeedCursor.objects.filter(account=account_id, reader=READER).values_list("number", flat=True).first()
    )
    new = AuditEntry.objects.filter(account=account_id, number__gt=seen or 0)
    last = new.aggregate(last=Max("number"))["last"]
    if last is None:
        return 0
    ups = new.filter(action="route.up", at__gt=now - rules.TOLD_LATE).order_by("number")
    ends = [end for entry in ups if (end := _end(entry))]
    told = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        cursor, _made = FeedCursor.objects.get_or_create(account_id=account_id, reader=READER)
        for end in ends:
            if end.entry.number > cursor.number:
                _tell(made, end)
                told += 1
        if last > cursor.number:
            cursor.number = last
            cursor.save(update_fields=["number"])
    return told


def _end(up: AuditEntry) -> _End | None:
    """None when nothing had waited, or nobody knew of a trouble: a short hiccup is nobody's business."""
    hop_id = up.details.get("next_hop")
    hop = NextHop.objects.filter(pk=hop_id, route__kind=Route.Kind.INBOUND).select_related("route").first()
    if hop is None:
        return None
    before = list(
        AuditEntry.objects.filter(
            account_id=up.account_id,
            number__lt=up.number,
            subject=up.subject,
            action__in=("route.down", "route.recovering", "route.up"),
        ).order_by("-number")[:20]
    )
    own = [entry for entry in before if entry.details.get("next_hop") == hop_id]
    trouble: list[AuditEntry] = []
    for entry in own:
        if entry.action == "route.up":
            break
        trouble.append(entry)
    if not trouble:
        return None
    start = trouble[-1].at
    back = next((entry.at for entry in trouble if entry.action == "route.recovering"), up.at)
    if not _known_to_people(hop, start, up.at):
        return None
    drained = drained_between(hop.pk, start, up.at, accepted_before=back)
    return _End(up, hop.route, start, drained) if drained.delivered else None


def _known_to_people(hop: NextHop, start: datetime, end: datetime) -> bool:
    """An outage of this mail server was open, or a pause ended, in `[start, end]`."""
    outages = Outage.objects.filter(
        Q(closed_at=None) | Q(closed_at__gte=start), monitor__route=hop.route_id, opened_at__lte=end
    )
    pauses = Pause.objects.filter(account=hop.route.account_id, ended_at__gte=start, ended_at__lte=end)
    return outages.exists() or pauses.exists()


def _tell(made: Decision, end: _End) -> None:
    facts = {
        "account": made.account.name,
        "route": end.route.name,
        "since": end.start.isoformat(),
        "closed": end.entry.at.isoformat(),
        "number": end.drained.delivered,
        "left": end.drained.left,
    }
    entry = made.record(
        "drain.finished",
        subject=end.entry.subject,
        after=end.route.name,
        number=end.drained.delivered,
        left=end.drained.left,
    )
    for contact in Contact.objects.filter(account=made.account, active=True).order_by("pk"):
        notifications.notify(made, contact, "drained", facts, f"drained:{entry.pk}:contact:{contact.pk}")
