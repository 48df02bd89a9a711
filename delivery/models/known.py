"""Whom the gateway takes mail for, besides the people of an account."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import MailDomain


class KnownRecipient(models.Model):
    """An address that the gateway accepts besides those of people: imported, alias or learned."""

    class Source(models.TextChoices):
        IMPORTED = "imported", _("Imported")
        ALIAS = "alias", _("Added by hand")
        LEARNED = "learned", _("Learned from a delivery")

    domain = models.ForeignKey(MailDomain, models.CASCADE, related_name="known_recipients")
    address = models.CharField(max_length=320, unique=True, help_text=_("Lower case."))
    source = models.CharField(max_length=8, choices=Source)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["domain", "address", "source"], name="known_of_domain")]

    def __str__(self) -> str:
        return self.address


class RecipientImport(models.Model):
    """A list of recipients that somebody uploaded for a domain: a preview first, then the import itself."""

    class State(models.TextChoices):
        PREVIEW = "preview", _("Preview")
        RUNNING = "running", _("Being imported")
        DONE = "done", _("Imported")

    domain = models.ForeignKey(MailDomain, models.CASCADE, related_name="recipient_imports")
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    file_name = models.CharField(max_length=120, blank=True)
    state = models.CharField(max_length=8, choices=State, default=State.PREVIEW)
    until = models.DateTimeField(
        help_text=_("A preview can be used until then; an import that is older has no worker any more.")
    )
    facts = models.JSONField(default=dict, help_text=_("What the preview shows."))
    addresses = models.TextField(blank=True, help_text=_("One a line, once each; emptied when imported."))
    total = models.PositiveIntegerField(default=0)
    replace = models.BooleanField(default=False, help_text=_("Imported addresses not in the list go."))
    progress = models.PositiveIntegerField(default=0, help_text=_("How many of the list are through."))
    added = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["domain", "id"], name="recipient_import_history")]

    def __str__(self) -> str:
        return f"import {self.pk} for {self.domain}"

    def interrupted(self, now: datetime) -> bool:
        """Whether it runs no more and can be carried on."""
        return self.state == self.State.RUNNING and now > self.until
