"""Saving a contact and the ways to reach them, as one audited decision."""

from __future__ import annotations

from typing import Any

from accounts.models import Account, Contact
from accounts.services import Actor, decision
from notifications.forms import ContactForm, ContactPoints
from notifications.models import ContactPoint


class NotValid(Exception):  # noqa: N818  (an answer to the user)
    """The contact points cannot be saved like this; `points` says why, by form."""

    def __init__(self, points: Any) -> None:
        super().__init__("contact points")
        self.points = points


def settings_contact(
    account: Account, actor: Actor, form: ContactForm, data: Any, *, request_key: str | None = None
) -> Contact:
    """Save a valid contact form and the contact points in `data`, all or nothing.

    Points are checked with their contact saved, since the out-of-band rule asks for its account.
    Raises NotValid, AlreadyDone.
    """
    changes, new = form.changes(), form.instance.pk is None
    with decision(account.pk, actor, request_key=request_key) as decided:
        contact = form.save()
        points = ContactPoints(data, instance=contact, prefix="points")
        if not points.is_valid():
            if new:
                form.instance.pk = None
            raise NotValid(points)
        last = max(contact.points.values_list("order", flat=True), default=0)
        for one in points.save(commit=False):
            if one._state.adding:
                one.order = last = last + 1
            one.begin_anew()
            # The demo sends nothing, so there is nobody whose code could be asked for.
            one.verified_at = decided.now if account.is_demo else None
            one.save()
        for one in points.deleted_objects:
            one.delete()
        decided.record(
            "contact.added" if new else "contact.changed",
            subject=f"contact:{contact.pk}",
            after=contact.name,
            changes=changes,
            points=[
                f"{one.channel} {one.shown_address}" for one in ContactPoint.objects.filter(contact=contact)
            ],
        )
    return contact
