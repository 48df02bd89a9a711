"""What is stored of noticing: monitors, the windows they judged, probes, outages."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Contact, TimeZoneField
from delivery.models import Route, SinkRoute
from monitoring.rules import (
    HIGH_SENSITIVITY,
    HIGHEST_THRESHOLD,
    LATENCY_SECONDS,
    LONGEST_LATENCY,
    LOW_SENSITIVITY,
    LOWEST_THRESHOLD,
    MEDIUM_SENSITIVITY,
    SHORTEST_LATENCY,
)

_SOMETHING = Q(route__isnull=False) | ~Q(outbound_host="")


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def watching(self) -> MonitorQuerySet:
        """Those that are on and have something to judge."""
        return self.filter(_SOMETHING, active=True)

    def not_watching(self) -> MonitorQuerySet:
        """Those that are off, or whose route was removed and that have no other check."""
        return self.filter(Q(active=False) | ~_SOMETHING)


class Monitor(models.Model):
    """Watches a mail server by judging one window after another. `monitoring.rules` has the counter."""

    HIGH, MEDIUM, LOW = HIGH_SENSITIVITY, MEDIUM_SENSITIVITY, LOW_SENSITIVITY

    class Tls(models.TextChoices):
        """All encrypted, for a password travels."""

        VERIFIED = "verified", _("STARTTLS, certificate verified")
        REQUIRED = "required", _("STARTTLS, any certificate")
        IMPLICIT_VERIFIED = "implicit-ok", _("TLS from the start, certificate verified")
        IMPLICIT = "implicit", _("TLS from the start, any certificate")

    account = models.ForeignKey(Account, models.CASCADE, related_name="monitors")
    description = models.CharField(max_length=120)
    notes = models.CharField(max_length=500, blank=True)
    time_zone = TimeZoneField()
    inbound = models.BooleanField(default=True, editable=False, help_text=_("It has an inbound check."))
    route = models.ForeignKey(
        Route,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="monitors",
        help_text=_("The inbound check. Gone although there is one: the route was removed."),
    )
    outbound_host = models.CharField(
        _("submission server"), max_length=253, blank=True, help_text=_("The outbound check. Empty: none.")
    )
    outbound_port = models.PositiveIntegerField(
        _("submission port"), default=587, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    outbound_tls = models.CharField(_("encryption"), max_length=12, choices=Tls, default=Tls.VERIFIED)
    outbound_username = models.CharField(_("user name of the mailbox"), max_length=255, blank=True)
    outbound_sender = models.EmailField(
        _("address of the mailbox"), blank=True, help_text=_("Empty: the user name is the address.")
    )
    outbound_sealed_password = models.TextField(blank=True, editable=False)
    outbound_latency_seconds = models.PositiveSmallIntegerField(
        _("acceptable latency in seconds"),
        default=LATENCY_SECONDS,
        validators=[MinValueValidator(SHORTEST_LATENCY), MaxValueValidator(LONGEST_LATENCY)],
        help_text=_("A probe that takes longer from here through the mail server to the gateway is late."),
    )
    sink = models.OneToOneField(
        SinkRoute, models.SET_NULL, null=True, blank=True, editable=False, related_name="monitor"
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

    objects = MonitorQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "description"], name="monitor_name_once")]

    def __str__(self) -> str:
        return self.description

    @property
    def has_inbound(self) -> bool:
        return self.route_id is not None

    @property
    def has_outbound(self) -> bool:
        return bool(self.outbound_host)

    @property
    def route_removed(self) -> bool:
        """Whether the route of its inbound check was deleted."""
        return self.inbound and self.route_id is None

    @property
    def watches(self) -> bool:
        """Whether it is on and has something to judge."""
        return self.active and (self.has_inbound or self.has_outbound)

    def clean(self) -> None:
        """Raise ValidationError unless the route is an inbound one of the monitor's own account."""
        super().clean()
        route = self.route
        if route and route.account_id != self.account_id:
            raise ValidationError({"route": _("This route belongs to another account.")})
        if route and route.kind != Route.Kind.INBOUND:
            raise ValidationError({"route": _("A monitor watches an inbound route, this one is outbound.")})


class Pulse(models.Model):
    """What monitoring knows of its own life, in the one row of the installation."""

    ticked_at = models.DateTimeField(
        null=True, blank=True, help_text=_("Windows were last judged about then.")
    )
    beaten_at = models.DateTimeField(
        null=True, blank=True, help_text=_("The last look at ourselves, and heartbeat.")
    )
    witnesses = models.JSONField(default=dict, help_text=_("Who outside answered when, last."))
    gateway_name = models.CharField(
        max_length=253, blank=True, help_text=_("Probes come back to the gateway of this name.")
    )
    gateway_seen_at = models.DateTimeField(
        null=True, blank=True, help_text=_("A process of that name was last seen about then.")
    )

    def __str__(self) -> str:
        return f"pulse at {self.ticked_at}"

    @classmethod
    def get(cls) -> Pulse:
        """The row, made when it is missing."""
        return cls.objects.get_or_create(pk=1)[0]


class Probe(models.Model):
    """An active check made in one window. What it came to is for `monitoring.rules` to say.

    Inbound: of a route without traffic, up to RCPT. Outbound: a message handed in at the mail server, which
    has made its round when it arrives at the gateway; `ok` then says that the mail server took it.
    The same as a test that somebody asked for belongs to no window: nothing is judged by it. Its
    `window_start` is when it was asked for, in whole seconds, and it waits for a worker without a `claim`.
    """

    class Kind(models.TextChoices):
        INBOUND = "inbound", _("Inbound")
        OUTBOUND = "outbound", _("Outbound round trip")
        TEST_INBOUND = "test-in", _("Inbound check")
        TEST_OUTBOUND = "test-out", _("Outbound check")

    TESTS = (Kind.TEST_INBOUND, Kind.TEST_OUTBOUND)
    ROUND_TRIPS = (Kind.OUTBOUND, Kind.TEST_OUTBOUND)

    kind = models.CharField(max_length=8, choices=Kind, default=Kind.INBOUND)
    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="probes")
    window_start = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    ok = models.BooleanField(null=True)
    host = models.CharField(max_length=260, blank=True)
    stage = models.CharField(max_length=12, blank=True)
    reply = models.TextField(blank=True)
    nonce = models.CharField(
        max_length=32, blank=True, help_text=_("Of an outbound probe: makes it one of a kind.")
    )
    arrived_at = models.DateTimeField(null=True, blank=True, help_text=_("When the gateway took it."))
    claim = models.UUIDField(
        null=True, editable=False, help_text=_("Whoever wrote the row makes the probe: this says who it was.")
    )

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor", "kind", "window_start"], name="one_probe_per_window")
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
    source = models.CharField(max_length=12, blank=True, help_text=_("What decided, a `rules.Source`."))
    reply = models.TextField(blank=True, help_text=_("The words of the server that decided."))

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["monitor", "start"], name="window_judged_once")]
        indexes = [
            models.Index(fields=["monitor", "-end"], name="window_latest"),
            models.Index(fields=["end"], name="window_local_fault", condition=Q(source="local")),
            models.Index(fields=["monitor", "counter"], name="window_counted", condition=Q(counter__gt=0)),
        ]

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
    recovered = models.BooleanField(
        default=False, help_text=_("It closed because the mail server works, not because nobody watches.")
    )
    openings = models.JSONField(
        default=list, help_text=_("When it opened, first and again: reopened soon, it is the same outage.")
    )
    flapping_since = models.DateTimeField(
        null=True, blank=True, help_text=_("The opening that was one too many within a day.")
    )

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor"], condition=Q(closed_at=None), name="one_open_outage")
        ]
        indexes = [
            models.Index(fields=["account", "-opened_at"], name="outage_latest"),
            models.Index(fields=["monitor", "-opened_at"], name="outage_of_monitor"),
            models.Index(
                fields=["flapping_since"], name="outage_flapping", condition=Q(flapping_since__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"outage of {self.monitor} since {self.failing_since:%Y-%m-%d %H:%M}"

    @property
    def last_opened_at(self) -> datetime:
        return datetime.fromisoformat(self.openings[-1]) if self.openings else self.opened_at

    @property
    def reopened(self) -> int:
        """How often it opened again."""
        return max(0, len(self.openings) - 1)
