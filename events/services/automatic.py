"""Continuity mode that an outage activates by itself, where the account says after how many minutes."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from accounts.services import SCHEDULER, decision
from events import rules
from events.models import AlertSettings, ContinuityEvent
from events.services import clock
from events.services.mode import outage_title
from monitoring.models import Outage


def accounts(now: datetime) -> list[int]:
    """Accounts with an outage that has lasted long enough and was answered by no event."""
    waits = AlertSettings.objects.exclude(activate_minutes=None).values_list("account", "activate_minutes")
    return [account for account, minutes in waits if minutes and _unanswered(account, minutes, now)]


def decide(account_id: int, now: datetime) -> int:
    """Activate once for each outage: never where somebody activated during it, and perhaps stopped."""

    def act() -> int:
        with decision(account_id, SCHEDULER, now=now) as decided:
            clock.up_to_date(decided)
            wait = (
                AlertSettings.objects.filter(pk=account_id).values_list("activate_minutes", flat=True).first()
            )
            if not wait or not _unanswered(account_id, wait, now):
                return 0
            event = ContinuityEvent.objects.create(
                account_id=account_id,
                title=outage_title(account_id),
                state=ContinuityEvent.State.ACTIVE,
                starts_at=now,
                ends_at=now + timedelta(hours=rules.AUTOMATIC_HOURS),
                time_zone=decided.account.time_zone,
                began=ContinuityEvent.Began.AUTOMATIC,
                began_by=SCHEDULER.name,
            )
            clock.began(event, decided)
        return 1

    return clock.settled(account_id, now, act)


def _unanswered(account_id: int, minutes: int, now: datetime) -> bool:
    """Whether an outage is open for so long, and no event for everyone was active at any time of it."""
    long = Outage.objects.filter(
        account=account_id, closed_at=None, opened_at__lte=now - timedelta(minutes=minutes)
    )
    opened_at = long.order_by("-opened_at").values_list("opened_at", flat=True).first()
    if opened_at is None:
        return False
    begun = ContinuityEvent.objects.for_everyone().filter(account=account_id, starts_at__lte=now)
    over = Q(ended_at__gt=opened_at) | Q(ended_at=None, ends_at__gt=opened_at)
    return not begun.filter(over).exists()
