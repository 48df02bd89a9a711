"""Where mail goes: routes, their hosts, and the state of where they lead."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account


class Route(models.Model):
    """How to reach a mail server. One account has one inbound route for each mail server it runs."""

    class Kind(models.TextChoices):
        INBOUND = "inbound", _("Inbound: to the account's mail server")
        OUTBOUND = "outbound", _("Outbound")

    account = models.ForeignKey(Account, models.CASCADE, related_name="routes")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.INBOUND)
    max_connections = models.PositiveSmallIntegerField(
        default=20, validators=[MinValueValidator(1), MaxValueValidator(200)]
    )
    max_per_minute = models.PositiveIntegerField(
        _("messages a minute at most"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Empty: no limit."),
    )
    xclient = models.BooleanField(
        _("tell the mail server who sent (XCLIENT)"),
        default=False,
        help_text=_("Where it offers that to this gateway. Then it sees the sender’s address, not ours."),
    )
    canary_first_seconds = models.FloatField(
        default=30,
        help_text=_("While the route is down, the first canary message is tried after so many seconds."),
    )
    canary_max_seconds = models.FloatField(default=120, help_text=_("The longest time between two canaries."))
    warned_to = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("Senders of mail accepted up to this instant have been warned of its delay."),
    )

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="route_name_once")]

    def __str__(self) -> str:
        return self.name


class RouteHost(models.Model):
    """One host of a route; the next in order of preference is tried when one fails."""

    class Tls(models.TextChoices):
        OPPORTUNISTIC = "opportunistic", _("STARTTLS when offered")
        REQUIRED = "required", _("STARTTLS required")
        VERIFIED = "verified", _("STARTTLS required, certificate verified")

    route = models.ForeignKey(Route, models.CASCADE, related_name="hosts")
    preference = models.PositiveSmallIntegerField(default=10, help_text=_("Lower is tried first."))
    hostname = models.CharField(max_length=253)
    port = models.PositiveIntegerField(
        default=25, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    tls = models.CharField(max_length=16, choices=Tls, default=Tls.OPPORTUNISTIC)
    username = models.CharField(
        _("user name"),
        max_length=255,
        blank=True,
        help_text=_("Where the mail server wants us to sign in (AUTH). Only over STARTTLS."),
    )
    sealed_password = models.TextField(
        blank=True, editable=False, help_text=_("As `accounts.secrets` keeps it; never shown again.")
    )

    class Meta(TypedModelMeta):
        ordering = ("preference", "pk")

    def __str__(self) -> str:
        return f"{self.hostname}:{self.port}"


class NextHop(models.Model):
    """The state of where a route leads. Inbound routes have one (`domain` empty): the mail server.

    Outbound, each recipient domain is a next hop of its own, so that one dead domain stops no other.
    `delivery.rules` says how the state moves.
    """

    class State(models.TextChoices):
        UP = "up", _("Flowing")
        DOWN = "down", _("Server down")
        RECOVERING = "recovering", _("Recovering")
        SUSPECT = "suspect", _("Suspect")

    route = models.ForeignKey(Route, models.CASCADE, related_name="next_hops")
    domain = models.CharField(max_length=253, blank=True)
    state = models.CharField(max_length=12, choices=State, default=State.UP)
    state_since = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0, help_text=_("Host failures in a row."))
    canary_successes = models.PositiveSmallIntegerField(default=0)
    refusals = models.PositiveSmallIntegerField(default=0, help_text=_("Known recipients refused in a row."))
    refused_addresses = models.JSONField(default=list, blank=True, help_text=_("Those of `refusals`."))
    refused_senders = models.JSONField(
        default=list, blank=True, help_text=_("Senders in a row that got a 5xx to MAIL.")
    )
    not_before = models.DateTimeField(null=True, blank=True, help_text=_("No attempt before this instant."))
    connections = models.PositiveSmallIntegerField(
        default=1, help_text=_("Connections allowed while recovering.")
    )
    backlog_before = models.DateTimeField(
        null=True,
        blank=True,
        help_text=_("While recovering: what was accepted before this instant is backlog."),
    )
    used_at = models.DateTimeField(
        default=timezone.now, help_text=_("When mail was last meant to go there, to the hour.")
    )
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    last_reply = models.TextField(
        blank=True, help_text=_("The server's words, or ours, at the last host failure.")
    )
    offered_size = models.PositiveBigIntegerField(null=True, blank=True)
    offered_smtputf8 = models.BooleanField(default=False)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["route", "domain"], name="next_hop_once")]

    def __str__(self) -> str:
        return f"{self.route} {self.domain}".strip()
