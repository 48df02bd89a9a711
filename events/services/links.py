"""Manage links: one for each contact and alert, working for 24 hours, revocable."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.services import Actor, Refused, decision
from events import rules, tokens
from events.models import ManageLink
from notifications.models import Notification


def link_for(notification: Notification, now: datetime) -> ManageLink:
    """The link that this notification carries, made at its first sending.

    Sent again after that link has run out, it works for another 24 hours; a revoked one stays revoked.
    """
    link, made = ManageLink.objects.get_or_create(
        notification=notification,
        defaults={
            "account_id": notification.account_id,
            "contact_id": notification.contact_id,
            "created_at": now,
            "expires_at": now + rules.LINK_LIFETIME,
        },
    )
    if not made and link.expires_at <= now:
        link.expires_at = now + rules.LINK_LIFETIME
        link.save(update_fields=["expires_at"])
    return link


def resolve_link(notification: Notification, now: datetime) -> str:
    """The absolute address of the contact's own portal page; made while sending, stored nowhere."""
    token = tokens.make(link_for(notification, now))
    return settings.BASE_URL + str(reverse("portal", kwargs={"token": token}))


def revoke(link: ManageLink, actor: Actor, *, now: datetime | None = None) -> None:
    """End the link. Raises Refused when that was done before."""
    with decision(link.account_id, actor, now=now) as decided:
        if ManageLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=decided.now) != 1:
            raise Refused(_("This link was revoked before."))
        decided.record("link.revoked", subject=f"link:{link.pk}", contact=link.contact_id)
