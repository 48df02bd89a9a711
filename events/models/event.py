"""What is stored of continuity events."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, TimeZoneField


class EventQuerySet(models.QuerySet["ContinuityEvent"]):
    def active(self, now: datetime) -> EventQuerySet:
        """Active by the clock: an event past its end is over even if no job ran yet."""
        return self.filter(state=ContinuityEvent.State.ACTIVE, starts_at__lte=now, ends_at__gt=now)


class ContinuityEvent(models.Model):
    """What somebody activated: it makes continuity mode Active. It never changes the flow of mail."""

    class State(models.TextChoices):
        SCHEDULED = "scheduled", _("Scheduled")
        ACTIVE = "active", _("Active")
        ENDED = "ended", _("Ended")

    class Began(models.TextChoices):
        LINK = "link", _("By link")
        CONSOLE = "console", _("From the console")
        SCHEDULE = "schedule", _("By schedule")
        API = "api", _("By the API")
        AUTOMATIC = "automatic", _("Automatically")
        DRILL = "drill", _("As a drill")

    class Ended(models.TextChoices):
        STOPPED = "stopped", _("Stopped")
        RAN_OUT = "ran_out", _("Ran out")
        REPLACED = "replaced", _("Replaced")

    account = models.ForeignKey(Account, models.CASCADE, related_name="events")
    title = models.CharField(max_length=120)
    notes = models.TextField(blank=True)
    state = models.CharField(max_length=12, choices=State)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text=_("When it ends if nobody extends or stops it."))
    ended_at = models.DateTimeField(null=True, blank=True)
    time_zone = TimeZoneField()
    began = models.CharField(max_length=12, choices=Began)
    began_by = models.CharField(max_length=120)
    ended = models.CharField(max_length=12, choices=Ended, blank=True)
    ended_by = models.CharField(max_length=120, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints = [
            # Scope is everyone for now; a group joins these fields when events can be for groups.
            models.UniqueConstraint(fields=["account"], condition=Q(state="active"), name="one_active_event"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="event_forwards"),
        ]
        indexes = [models.Index(fields=["account", "-starts_at"], name="event_latest")]

    def __str__(self) -> str:
        return self.title

    def is_active(self, now: datetime) -> bool:
        return self.state == self.State.ACTIVE and self.starts_at <= now < self.ends_at
