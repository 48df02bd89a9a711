"""What is stored of the links to the portal."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Contact
from notifications.models import Notification


class ManageLinkQuerySet(models.QuerySet["ManageLink"]):
    def note_opening(self, now: datetime) -> int:
        """Note one more opening. Opening is not acting: nothing else changes by it."""
        return self.update(
            opened=F("opened") + 1,
            last_opened_at=now,
            first_opened_at=Coalesce("first_opened_at", now, output_field=models.DateTimeField()),
        )


class ManageLink(models.Model):
    """A contact's personal link to the portal. Its token is the id and an HMAC of it: nothing secret here."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="manage_links")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="manage_links")
    notification = models.OneToOneField(
        Notification, models.SET_NULL, null=True, blank=True, related_name="manage_link"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    first_opened_at = models.DateTimeField(null=True, blank=True)
    last_opened_at = models.DateTimeField(null=True, blank=True)
    opened = models.PositiveIntegerField(default=0, help_text=_("Times opened. Opening is not acting."))

    objects = ManageLinkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"link of {self.contact}"

    def works(self, now: datetime) -> bool:
        return self.revoked_at is None and now < self.expires_at
