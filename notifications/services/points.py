"""Contact points as they are used: which ones can be, and what disables them."""

from __future__ import annotations

from datetime import datetime

from accounts.models import MailDomain
from accounts.services import SCHEDULER, decision
from notifications import addresses
from notifications.models import ContactPoint, Notification


def usable_points(notification: Notification, now: datetime) -> dict[int, ContactPoint]:
    """The contact's usable points by primary key, in order.

    An e-mail address inside a domain that the account has added since is disabled here: out of band or
    not at all. The demo account's mail leaves nothing, so that its addresses may be anything.
    """
    points = list(ContactPoint.objects.filter(contact=notification.contact_id).usable())
    if not notification.account.is_demo and any(point.channel == "email" for point in points):
        domains = list(
            MailDomain.objects.filter(account=notification.account_id).values_list("name", flat=True)
        )
        points = [point for point in points if _out_of_band(point, domains, notification.account_id, now)]
    return {point.pk: point for point in points}


def _out_of_band(point: ContactPoint, domains: list[str], account_id: int, now: datetime) -> bool:
    if point.channel != "email":
        return True
    try:
        addresses.check_out_of_band(point.address, domains)
    except addresses.Unusable as unusable:
        disable_point(account_id, point.pk, str(unusable), now)
        return False
    return True


def disable_point(account_id: int, point_id: int, reason: str, now: datetime) -> None:
    """Use a contact point no more, and say why in the console and in the audit."""
    with decision(account_id, SCHEDULER, now=now) as made:
        usable = ContactPoint.objects.filter(pk=point_id, disabled_at=None)
        if usable.update(disabled_at=made.now, disabled_reason=reason) == 1:
            made.record("contact_point.disabled", subject=f"contact_point:{point_id}", reason=reason)
