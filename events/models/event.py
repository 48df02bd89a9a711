"""What is stored of continuity events."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Group, TimeZoneField


class EventQuerySet(models.QuerySet["ContinuityEvent"]):
    def active(self, now: datetime) -> EventQuerySet:
        """Active by the clock, whatever a job still has to write: an event past its end is over, a scheduled
        one past its start has begun, and replaced the one that it met."""
        begun = self.exclude(state=ContinuityEvent.State.ENDED).filter(starts_at__lte=now, ends_at__gt=now)
        replacing = ContinuityEvent.objects.filter(
            account=OuterRef("account"),
            scope=OuterRef("scope"),
            state=ContinuityEvent.State.SCHEDULED,
            starts_at__gt=OuterRef("starts_at"),
            starts_at__lte=now,
        )
        return begun.exclude(Exists(replacing))

    def for_everyone(self) -> EventQuerySet:
        """Those that make the account's continuity mode Active; one for groups does not."""
        return self.filter(scope="")


class ContinuityEvent(models.Model):
    """What somebody activated or scheduled: for everyone it makes continuity mode Active.

    It never changes the flow of mail.
    """

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

    class ClientPolicy(models.TextChoices):
        OFF = "off", _("Off")
        ON = "on", _("On")
        AUTOMATIC = "automatic", _("Automatic")

    account = models.ForeignKey(Account, models.CASCADE, related_name="events")
    scope = models.CharField(
        max_length=120,
        blank=True,
        help_text=_("Empty for everyone, else the groups' numbers in order."),
    )
    groups = models.ManyToManyField(Group, blank=True, related_name="events")
    title = models.CharField(_("title"), max_length=120)
    start_text = models.TextField(_("what users are told at the start"), blank=True, max_length=4000)
    end_text = models.TextField(_("what users are told at the end"), blank=True, max_length=4000)
    client_policy = models.CharField(
        _("clients"), max_length=10, choices=ClientPolicy, default=ClientPolicy.OFF,
        help_text=_("What the users' mail programs are told to do while it is active."),
    )  # fmt: skip
    notes = models.TextField(_("notes"), blank=True, max_length=4000)
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
            models.UniqueConstraint(
                fields=["account", "scope"], condition=Q(state="active"), name="one_active_event"
            ),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="event_forwards"),
        ]
        indexes = [
            models.Index(fields=["account", "-starts_at"], name="event_latest"),
            models.Index(fields=["starts_at"], name="event_scheduled", condition=Q(state="scheduled")),
            models.Index(fields=["ends_at"], name="event_running", condition=Q(state="active")),
        ]

    def __str__(self) -> str:
        return self.title

    def is_active(self, now: datetime) -> bool:
        """By the clock, like `EventQuerySet.active`."""
        return self.state != self.State.ENDED and self.starts_at <= now < self.ends_at

    def is_scheduled(self, now: datetime) -> bool:
        """By the clock: it has not begun, and may be changed and cancelled."""
        return self.state == self.State.SCHEDULED and now < self.starts_at
