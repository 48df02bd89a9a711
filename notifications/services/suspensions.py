"""Silencing outage alerts for a while, for everybody or for one contact."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from accounts.models import Contact
from accounts.services import Actor, Decision, Refused, decision
from notifications import rules
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
    """Silence outage alerts and reminders for `hours` more, for `contact` only or (None) for everybody.

    The hours are added to what remains of what silences the same audience now. It covers the outages
    open at this moment: see `suspended_until`. Raises Refused for a duration that is not offered or
    another account's contact, AlreadyDone for a request that came before.
    """
    if hours not in rules.SUSPENSION_HOURS:
        raise Refused(_("Notifications can be suspended for 1, 2, 4, 8 or 24 hours."))
    if contact is not None and contact.account_id != account_id:
        raise Refused(_("This contact belongs to another account."))
    contact_id = None if contact is None else contact.pk
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        running = Suspension.objects.silencing(account_id, contact_id, made.now)
        untils = list(running.values_list("until", flat=True))
        remaining = rules.silenced_until(untils, made.now)
        suspension = Suspension.objects.create(
            account_id=account_id,
            contact=contact,
            made_at=made.now,
            made_by=actor.name,
            until=rules.suspension_end(untils, hours, made.now),
        )
        made.record(
            "notifications.suspended",
            subject=f"suspension:{suspension.pk}",
            before=remaining.isoformat() if remaining > made.now else "",
            after=suspension.until.isoformat(),
            until=suspension.until.isoformat(),
            hours=hours,
            contact=contact_id,
        )
    return suspension


def end_suspension(made: Decision, suspension: Suspension, at: datetime) -> None:
    """End a suspension early: as of `at`, which may have passed already."""
    until = suspension.until
    if Suspension.objects.filter(pk=suspension.pk, until=until).update(until=at) == 1:
        made.record(
            "notifications.resumed",
            subject=f"suspension:{suspension.pk}",
            before=until.isoformat(),
            after=at.isoformat(),
            contact=suspension.contact_id,
        )


def suspended_until(
    account_id: int, contact_id: int | None, outage_opened_at: datetime, now: datetime
) -> datetime | None:
    """Until when alerts about an outage are silenced for a contact (None: for everybody), or None.

    Only suspensions made since the outage opened count: a new outage alerts.
    """
    running = Suspension.objects.silencing(account_id, contact_id, now).filter(made_at__gte=outage_opened_at)
    untils = list(running.values_list("until", flat=True))
    return max(untils, default=None)
