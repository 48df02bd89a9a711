"""An import of people: the file, what it holds, how far it is."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta


class PersonImport(models.Model):
    """A file of people that somebody uploaded: it is read, looked at, decided on, and then imported."""

    class State(models.TextChoices):
        READING = "reading", _("Being read")
        PREVIEW = "preview", _("Preview")
        UNREADABLE = "unreadable", _("Not readable")
        RUNNING = "running", _("Being imported")
        DONE = "done", _("Imported")

    account = models.ForeignKey("accounts.Account", models.CASCADE, related_name="person_imports")
    state = models.CharField(max_length=10, choices=State, default=State.READING)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    file_name = models.CharField(max_length=120, blank=True)
    country = models.CharField(max_length=2, blank=True, help_text=_("Of numbers without a country code."))
    content = models.BinaryField(help_text=_("The file itself, until it is read."))
    until = models.DateTimeField(
        help_text=_("A preview can be used until then; what is older has no worker any more.")
    )
    token = models.CharField(max_length=32, blank=True, help_text=_("Of the one who reads it."))
    facts = models.JSONField(default=dict, help_text=_("What the preview shows."))
    total = models.PositiveIntegerField(default=0, help_text=_("How many people it holds."))
    remove_missing = models.BooleanField(default=False, help_text=_("People who are not in the file go."))
    progress = models.PositiveIntegerField(default=0, help_text=_("How many parts of it are through."))
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["account", "id"], name="person_import_history")]

    def __str__(self) -> str:
        return f"import {self.pk} of people"

    @property
    def busy(self) -> bool:
        return self.state in (self.State.READING, self.State.RUNNING)

    def interrupted(self, now: datetime) -> bool:
        """Whether it goes on no more and can be carried on."""
        return self.busy and now > self.until


class PersonImportPart(models.Model):
    """Some hundreds of people of a file, in their order, and the lines in error among them."""

    run = models.ForeignKey(PersonImport, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    lines = models.JSONField(default=list)
    errors = models.JSONField(default=list)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="person_import_part_once")]

    def __str__(self) -> str:
        return f"part {self.number} of {self.run_id}"
