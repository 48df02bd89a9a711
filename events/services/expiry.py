"""Nobody is surprised on day four: the contacts are told before mail goes back to its senders, and when it
cannot. What was told stands in the audit: the last row about `expiry` or `bounces`."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.dateparse import parse_datetime

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, Decision, decision
from delivery import reads as delivery
from delivery.models import Pause
from delivery.reads import Expiring
from events import rules
from events.services import notices

A_DAY = timedelta(hours=24)
ROUTE_MISSING_AGAIN = timedelta(days=7)


def accounts(now: datetime) -> list[int]:
    """Accounts that may have to be told something. Index probes, however long the queues."""
    expiring = delivery.accounts_expiring(now + max(rules.EXPIRY_WARNINGS))
    return sorted({*expiring, *delivery.accounts_without_bounce_route(now)})


def decide(account_id: int, now: datetime) -> int:
    """Tell the contacts what is due; returns how many things were decided.

    Looks without a lock first, and again under it, so that two ticks at once tell it once.
    """
    if not (_expiry_due(account_id, now) or _route_missing(account_id, now)):
        return 0
    decided = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        if before := _expiry_due(account_id, now):
            decided += _warn(made, before)
        if _route_missing(account_id, now):
            decided += _tell_route_missing(made)
    return decided


def going_back(account_id: int, now: datetime) -> Expiring | None:
    """Inbound mail that goes back within a day of its first, if that one does within a day from now."""
    first_at = delivery.inbound_expires_first(account_id, now)
    if first_at is None or first_at > now + A_DAY:
        return None
    return delivery.expires_within(account_id, now, first_at - now + A_DAY)


def _expiry_due(account_id: int, now: datetime) -> timedelta | None:
    first_at = delivery.inbound_expires_first(account_id, now)
    if first_at is None:
        return None
    return rules.expiry_warning(first_at, delivery.queue_lifetime(account_id), _warned(account_id), now)


def _warned(account_id: int) -> rules.ExpiryWarned | None:
    """The last warning, unless deliveries were paused since: then the count-down is another one."""
    last = _last(account_id, "expiry")
    if last is None or Pause.objects.filter(account_id=account_id, started_at__gte=last.at).exists():
        return None
    first_at = parse_datetime(str(last.details["first_at"]))
    assert first_at
    return rules.ExpiryWarned(timedelta(hours=last.details["hours"]), first_at)


def _last(account_id: int, subject: str) -> AuditEntry | None:
    return AuditEntry.objects.filter(account_id=account_id, subject=subject).order_by("-number").first()


def _warn(made: Decision, before: timedelta) -> int:
    mail = going_back(made.account.pk, made.now)
    if mail is None:
        return 0
    begins = max(mail.first_at, made.now)
    hours = before // timedelta(hours=1)
    entry = made.record(
        "expiry.warned", subject="expiry", hours=hours, number=mail.number, first_at=mail.first_at.isoformat()
    )
    stale = max((begins - made.now) // timedelta(minutes=1), 60)
    facts = {"number": mail.number, "at": begins.isoformat(), "hours": hours, "stale_minutes": stale}
    notices.tell(made, entry, "expiry", facts)
    return 1


def _route_missing(account_id: int, now: datetime) -> bool:
    """Whether bounces wait for an outbound route, and nobody was told of it lately."""
    last = _last(account_id, "bounces")
    if last and last.at > now - ROUTE_MISSING_AGAIN:
        return False
    return account_id in delivery.accounts_without_bounce_route(now)


def _tell_route_missing(made: Decision) -> int:
    number = delivery.bounces_waiting(made.account.pk)
    entry = made.record("bounces.route_missing", subject="bounces", number=number)
    notices.tell(made, entry, "route_missing", {"number": number})
    return 1
