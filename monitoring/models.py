"""What is stored of noticing: monitors, the windows they judged, probes, outages."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Contact, TimeZoneField
from delivery.models import Route
from monitoring.rules import (
    HIGH_SENSITIVITY,
    HIGHEST_THRESHOLD,
    LOW_SENSITIVITY,
    LOWEST_THRESHOLD,
    MEDIUM_SENSITIVITY,
)


class Monitor(models.Model):
    """Watches a mail server by judging one window after another. `monitoring.rules` has the counter."""

    HIGH, MEDIUM, LOW = HIGH_SENSITIVITY, MEDIUM_SENSITIVITY, LOW_SENSITIVITY

    account = models.ForeignKey(Account, models.CASCADE, related_name="monitors")
    description = models.CharField(max_length=120)
    notes = models.CharField(max_length=500, blank=True)
    time_zone = TimeZoneField()
    route = models.ForeignKey(
        Route, models.PROTECT, related_name="monitors", help_text=_("The inbound check.")
    )
    threshold = models.PositiveSmallIntegerField(
        default=MEDIUM,
        validators=[MinValueValidator(LOWEST_THRESHOLD), MaxValueValidator(HIGHEST_THRESHOLD)],
        help_text=_("Failed windows until the outage opens. High sensitivity is 3, medium 5, low 10."),
    )
    contacts = models.ManyToManyField(Contact, blank=True, related_name="monitors")
    active = models.BooleanField(default=True)
    window_seconds = models.PositiveSmallIntegerField(default=120, editable=False)
    counter = models.PositiveSmallIntegerField(default=0, editable=False)
    judged_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "description"], name="monitor_name_once")]

    def __str__(self) -> str:
        return self.description

    def clean(self) -> None:
        """Raise ValidationError unless the route is an inbound one of the monitor's own account."""
        super().clean()
        route = Route.objects.filter(pk=self.route_id).first()
        if route and route.account_id != self.account_id:
            raise ValidationError({"route": _("This route belongs to another account.")})
        if route and route.kind != Route.Kind.INBOUND:
            raise ValidationError({"route": _("A monitor watches an inbound route, this one is outbound.")})


class Probe(models.Model):
    """An active check of a route (connect, EHLO, STARTTLS, RCPT) made for one window without traffic."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="probes")
    window_start = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    ok = models.BooleanField(null=True)
    host = models.CharField(max_length=260, blank=True)
    stage = models.CharField(max_length=12, blank=True)
    reply = models.TextField(blank=True)
    claim = models.UUIDField(
        null=True, editable=False, help_text=_("Whoever wrote the row makes the probe: this says who it was.")
    )

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor", "window_start"], name="one_probe_per_window")
        ]

    def __str__(self) -> str:
        return f"probe at {self.started_at:%H:%M:%S}"


class Window(models.Model):
    """One judged window of a monitor, with what it saw. `[start, end)`; an unknown one may span a gap."""

    class Verdict(models.TextChoices):
        FAILURE = "failure", _("Failure")
        SUCCESS = "success", _("Success")
        QUIET = "quiet", _("Nothing to judge")
        UNKNOWN = "unknown", _("Unknown")

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="windows")
    start = models.DateTimeField()
    end = models.DateTimeField()
    verdict = models.CharField(max_length=8, choices=Verdict)
    counter = models.PositiveSmallIntegerField(help_text=_("The monitor's counter after this window."))
    step = models.SmallIntegerField(
        help_text=_("What this window adds to the counter, before that is kept between 0 and the threshold.")
    )
    deliveries = models.PositiveIntegerField(default=0, help_text=_("Successful deliveries in the window."))
    failures = models.PositiveIntegerField(default=0, help_text=_("Host failures of real deliveries."))
    source = models.CharField(max_length=12, blank=True, help_text=_("What decided: delivery or probe."))
    reply = models.TextField(blank=True, help_text=_("The words of the server that decided."))

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["monitor", "start"], name="window_judged_once")]
        indexes = [models.Index(fields=["monitor", "-end"], name="window_latest")]

    def __str__(self) -> str:
        return f"{self.verdict} {self.start:%Y-%m-%d %H:%M:%S}"


class Outage(models.Model):
    """What a monitor detected: open from the window that tripped its threshold until the counter halved."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="outages")
    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="outages")
    failing_since = models.DateTimeField(help_text=_("Start of the first failed window that led here."))
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    reply = models.TextField(blank=True, help_text=_("The server's words in the window that tripped it."))

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor"], condition=Q(closed_at=None), name="one_open_outage")
        ]
        indexes = [models.Index(fields=["account", "-opened_at"], name="outage_latest")]

    def __str__(self) -> str:
        return f"outage of {self.monitor} since {self.failing_since:%Y-%m-%d %H:%M}"
