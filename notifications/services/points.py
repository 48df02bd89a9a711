"""Contact points as they are used: which ones can be, in which order, and what disables them."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from accounts.models import MailDomain
from accounts.services import SCHEDULER, Actor, Decision, Refused, decision
from notifications import addresses, codes
from notifications.models import ContactPoint, Notification


def usable_points(notification: Notification, now: datetime) -> dict[int, ContactPoint]:
    """The contact's usable points by primary key, in order; for a code or a test the one it is for.

    An e-mail address inside a domain that the account has added since is disabled here: out of band or
    not at all. The demo account's mail leaves nothing, so that its addresses may be anything.
    """
    if notification.kind in codes.TO_ONE_POINT:
        return _the_one(notification)
    points = list(ContactPoint.objects.filter(contact=notification.contact_id).usable())
    if not notification.account.is_demo and any(point.channel == "email" for point in points):
        domains = list(
            MailDomain.objects.filter(account=notification.account_id).values_list("name", flat=True)
        )
        points = [point for point in points if _out_of_band(point, domains, notification.account_id, now)]
    return {point.pk: point for point in points}


def _the_one(notification: Notification) -> dict[int, ContactPoint]:
    """The point to verify or to test, unless it was removed, or was disabled since it was tested."""
    point = notification.point
    if point is None or (notification.kind == codes.TEST and point.disabled_at is not None):
        return {}
    return {point.pk: point}


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


def move(account_id: int, actor: Actor, point_id: int, *, up: bool, request_key: str | None = None) -> None:
    """Try a contact point before (or after) its neighbour. At the end of the list nothing changes.

    Raises Refused for a point that was removed, AlreadyDone.
    """
    with decision(account_id, actor, request_key=request_key) as made:
        point = ContactPoint.objects.filter(pk=point_id, contact__account=made.account).first()
        if point is None:
            raise Refused(_("This contact point was removed."))
        points = list(ContactPoint.objects.filter(contact=point.contact_id).order_by("order", "pk"))
        here = points.index(point)
        there = max(0, min(len(points) - 1, here - 1 if up else here + 1))
        points.insert(there, points.pop(here))
        for order, one in enumerate(points, 1):
            one.order = order
        ContactPoint.objects.bulk_update(points, ["order"])
        made.record(
            "contact.changed",
            subject=f"contact:{point.contact_id}",
            points=[f"{one.channel} {one.shown_address}" for one in points],
        )


def recheck(made: Decision) -> list[ContactPoint]:
    """Disable the account's contact points that are not out of band any more, and return them.

    For the decision that adds or renames a domain. The demo account's mail leaves nothing.
    """
    if made.account.is_demo:
        return []
    domains = list(MailDomain.objects.filter(account=made.account).values_list("name", flat=True))
    points = ContactPoint.objects.filter(
        contact__account=made.account, channel=ContactPoint.Channel.EMAIL, disabled_at=None
    )
    inside = []
    for point in points.select_related("contact").order_by("contact__name", "order", "pk"):
        try:
            addresses.check_out_of_band(point.address, domains)
        except addresses.Unusable as unusable:
            point.disabled_at, point.disabled_reason = made.now, str(unusable)
            inside.append(point)
            subject = f"contact_point:{point.pk}"
            made.record("contact_point.disabled", subject=subject, reason=point.disabled_reason)
    ContactPoint.objects.bulk_update(inside, ["disabled_at", "disabled_reason"])
    return inside
