"""What is stored of deciding: continuity events, manage links, and whom an outage alerts when."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Contact, TimeZoneField
from monitoring.models import Monitor, Outage
from notifications.models import Notification


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


class AlertStream(models.Model):
    """The alerts of one outage to one contact: which slot is next, and when."""

    outage = models.ForeignKey(Outage, models.CASCADE, related_name="alert_streams")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="alert_streams")
    next_at = models.DateTimeField()
    slot = models.PositiveIntegerField(default=0, help_text=_("The number of alerts decided so far."))
    last_at = models.DateTimeField(null=True, blank=True)
    recovered_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When the recovery notice was decided.")
    )

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["outage", "contact"], name="one_stream_per_contact")]
        indexes = [models.Index(fields=["next_at"], name="alert_due", condition=Q(recovered_at=None))]

    def __str__(self) -> str:
        return f"alerts to {self.contact} about {self.outage}"


class EscalationStep(models.Model):
    """When a contact's turn comes in an outage of a monitor. Whoever has no row is at step 1: at once."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="escalation_steps")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="escalation_steps")
    step = models.PositiveSmallIntegerField()

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor", "contact"], name="one_step_per_contact"),
            models.CheckConstraint(condition=Q(step__range=(2, 5)), name="escalation_step_range"),
        ]

    def __str__(self) -> str:
        return f"{self.contact} at step {self.step} of {self.monitor}"


class AlertSettings(models.Model):
    """The numbers of an account that have to do with alerts."""

    account = models.OneToOneField(Account, models.CASCADE, primary_key=True, related_name="alert_settings")
    interval_minutes = models.PositiveSmallIntegerField(
        _("minutes between alerts"), default=60, help_text=_("15 to 1440 minutes.")
    )
    step_minutes = models.PositiveSmallIntegerField(
        _("minutes until the next step"), default=10, help_text=_("1 to 1440 minutes.")
    )

    class Meta(TypedModelMeta):
        constraints = [
            models.CheckConstraint(
                condition=Q(interval_minutes__range=(15, 1440)), name="alert_interval_range"
            ),
            models.CheckConstraint(condition=Q(step_minutes__range=(1, 1440)), name="alert_step_range"),
        ]

    def __str__(self) -> str:
        return f"alert settings of {self.account}"


class FeedCursor(models.Model):
    """How far a reader of an account's audit feed has come: the number of the last row it dealt with."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="feed_cursors")
    reader = models.CharField(max_length=32)
    number = models.PositiveBigIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "reader"], name="one_cursor_per_reader")]

    def __str__(self) -> str:
        return f"{self.reader} at {self.number}"
