"""Suspending notifications about outages, and ending that when the outages are over for good."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Contact
from accounts.services import SCHEDULER, Actor, Refused, decision
from events import rules
from monitoring.models import Outage
from notifications import services as notifications
from notifications.models import Suspension


def suspend(
    account_id: int,
    actor: Actor,
    hours: int,
    *,
    contact: Contact | None = None,
    request_key: str | None = None,
    now: datetime | None = None,
) -> Suspension:
    """Silence the account's outages for so many hours more, for one contact or (None) for everybody.

    What silenced outages that are over for good is ended first, in a decision of the clock, so that the
    hours count from now. Raises Refused where no outage is there to be silenced, and AlreadyDone.
    """
    now = now or timezone.now()
    end_over(account_id, now)
    if not recent(account_id, now).exists():
        raise Refused(_("There is no outage, so there are no notifications to suspend."))
    return notifications.suspend(account_id, actor, hours, contact=contact, request_key=request_key, now=now)


def recent(account_id: int, now: datetime) -> QuerySet[Outage]:
    """Outages that are open, or closed so lately that they may open again."""
    lately = Q(closed_at=None) | Q(closed_at__gt=now - rules.OVER_FOR_GOOD)
    return Outage.objects.filter(lately, account_id=account_id)


def accounts(now: datetime) -> list[int]:
    """Accounts of which something is silenced."""
    running = Suspension.objects.filter(until__gt=now)
    return sorted(set(running.values_list("account", flat=True)))


def end_over(account_id: int, now: datetime) -> int:
    """End the suspensions whose outages are over for good; returns how many.

    Late, it ends them as of then.
    """
    if not _over(account_id, now):
        return 0
    with decision(account_id, SCHEDULER, now=now) as made:
        over = _over(account_id, now)
        for suspension, at in over:
            notifications.end_suspension(made, suspension, at)
    return len(over)


def _over(account_id: int, now: datetime) -> list[tuple[Suspension, datetime]]:
    running = list(Suspension.objects.filter(account_id=account_id, until__gt=now).order_by("pk"))
    if not running:
        return []
    first = min(one.made_at for one in running) - rules.OVER_FOR_GOOD
    outages = list(Outage.objects.filter(Q(closed_at=None) | Q(closed_at__gt=first), account_id=account_id))
    found = []
    for one in running:
        closings = [
            outage.closed_at
            for outage in outages
            if outage.opened_at <= one.made_at
            and (outage.closed_at is None or outage.closed_at > one.made_at - rules.OVER_FOR_GOOD)
        ]
        at = rules.silence_over_at(closings, one.made_at)
        if at is not None and at <= now:
            found.append((one, at))
    return found


def end(account_id: int, actor: Actor, suspension_id: int, *, now: datetime | None = None) -> bool:
    """End one suspension of the account now; False where none such runs."""
    with decision(account_id, actor, now=now) as made:
        running = Suspension.objects.filter(pk=suspension_id, account=account_id, until__gt=made.now).first()
        if running is not None:
            notifications.end_suspension(made, running, made.now)
    return running is not None
