"""What is stored of mail: routes and their state, messages, recipients, attempts, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, MailDomain


class DeliverySettings(models.Model):
    """The numbers of an account that have to do with mail."""

    class Bounce(models.TextChoices):
        AUTHENTIC = "authentic", _("Authentic senders only")
        ALWAYS = "always", _("All senders")

    account = models.OneToOneField(
        Account, models.CASCADE, primary_key=True, related_name="delivery_settings"
    )
    queue_hours = models.PositiveSmallIntegerField(
        _("queue lifetime in hours"),
        default=96,
        validators=[MinValueValidator(1), MaxValueValidator(720)],
        help_text=_(
            "A message that could not be delivered for so long goes back to its sender. "
            "Paused time does not count."
        ),
    )
    bounce = models.CharField(
        _("send bounces to"),
        max_length=10,
        choices=Bounce,
        default=Bounce.AUTHENTIC,
        help_text=_("A bounce to a forged sender hits somebody who never wrote the message."),
    )
    warn_outbound_minutes = models.PositiveSmallIntegerField(
        _("warn senders of outgoing mail after minutes"),
        null=True,
        blank=True,
        default=60,
        validators=[MinValueValidator(5), MaxValueValidator(7200)],
        help_text=_("Once for each message that is delayed for so long. Empty: never."),
    )
    warn_inbound_minutes = models.PositiveSmallIntegerField(
        _("warn senders of incoming mail after minutes"),
        null=True,
        blank=True,
        default=None,
        validators=[MinValueValidator(5), MaxValueValidator(7200)],
        help_text=_("Once for each message that is delayed for so long. Empty: never."),
    )
    content_days = models.PositiveSmallIntegerField(
        _("keep content for days"),
        default=7,
        validators=[MinValueValidator(1), MaxValueValidator(400)],
        help_text=_("Counted from the final state of a message's last recipient. Then its text is deleted."),
    )
    metadata_days = models.PositiveSmallIntegerField(
        _("keep envelopes for days"),
        default=400,
        validators=[MinValueValidator(1), MaxValueValidator(3660)],
        help_text=_("Sender, recipients, subject and attempts are deleted after so long."),
    )

    outbound_networks = models.JSONField(
        _("networks that may send"),
        default=list,
        blank=True,
        help_text=_(
            "Addresses and networks, such as 192.0.2.10 or 192.0.2.0/24, from which mail of this account's "
            "domains to other organisations is taken."
        ),
    )

    def __str__(self) -> str:
        return f"delivery settings of {self.account}"


class SubmissionUser(models.Model):
    """Who may send mail of the account's domains by the submission port, with a password. No console user."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="submission_users")
    username = models.CharField(
        _("user name"), max_length=150, unique=True, help_text=_("Lower case, such as scanner@example.com.")
    )
    password = models.CharField(max_length=128, help_text=_("As Django's hashers keep it."))
    enabled = models.BooleanField(_("enabled"), default=True)

    def __str__(self) -> str:
        return self.username


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


class RouteTest(models.Model):
    """A test of a route that somebody asked for, host by host, with what each step found.

    Whoever runs it claims the next host by a conditional update of `next_host`, and writes `steps` alone.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for its turn")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")

    class Result(models.TextChoices):
        OK = "ok", _("Passed")
        WARNING = "warning", _("Passed, with remarks")
        FAILED = "failed", _("Failed")

    route = models.ForeignKey(Route, models.CASCADE, related_name="tests")
    asked_at = models.DateTimeField()
    asked_by = models.CharField(max_length=120)
    recipient = models.CharField(max_length=320)
    send_message = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    until = models.DateTimeField(
        help_text=_("Not waiting or running after this instant, but interrupted: whoever ran it is gone.")
    )
    host_ids = models.JSONField(default=list, help_text=_("The route's hosts as they were, in order."))
    next_host = models.PositiveSmallIntegerField(default=0, help_text=_("Index of the next to be tested."))
    steps = models.JSONField(default=list)
    result = models.CharField(max_length=8, choices=Result, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    arrived_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When a person confirmed that the test message arrived.")
    )
    arrived_by = models.CharField(max_length=120, blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["route", "id"], name="route_test_history")]

    def __str__(self) -> str:
        return f"test {self.pk} of {self.route}"

    def interrupted(self, now: datetime) -> bool:
        """Whether it will never end: nobody took it up, or the worker that ran it is gone."""
        return self.state != self.State.DONE and now > self.until


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


class Folded(models.Func):
    """Text in lower case (ASCII), ordered by its bytes on every database: what prefix searches go by."""

    arity = 1
    output_field = models.TextField()
    template = "LOWER(%(expressions)s)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template='LOWER((%(expressions)s) COLLATE "C")', **context)


class SenderKey(models.Func):
    """`domain@local` in lower case: one index finds a whole address and everybody of a domain."""

    arity = 1
    output_field = models.TextField()
    template = (
        "LOWER(SUBSTR(%(expressions)s, INSTR(%(expressions)s, '@') + 1) || '@' || "
        "SUBSTR(%(expressions)s, 1, MAX(INSTR(%(expressions)s, '@') - 1, 0)))"
    )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = (
            "LOWER((SUBSTR(%(expressions)s, STRPOS(%(expressions)s, '@') + 1) || '@' || "
            "SUBSTR(%(expressions)s, 1, GREATEST(STRPOS(%(expressions)s, '@') - 1, 0))) COLLATE \"C\")"
        )
        return self.as_sql(compiler, connection, template=template, **context)


class Message(models.Model):
    """A message as it was accepted for one account, or a report of ours. Its bytes are in MessageContent."""

    class Report(models.TextChoices):
        FAILURE = "failure", _("Bounce")
        DELAY = "delay", _("Delay warning")

    account = models.ForeignKey(Account, models.PROTECT, related_name="messages")
    accepted_at = models.DateTimeField()
    sender = models.CharField(max_length=320, blank=True, help_text=_("Envelope sender; empty is <>."))
    size = models.PositiveBigIntegerField(help_text=_("Bytes as stored."))
    taken = models.PositiveIntegerField(
        null=True, editable=False, help_text=_("Recipients at acceptance, for the books. Null: not noted.")
    )
    smtputf8 = models.BooleanField(default=False)
    body_8bit = models.BooleanField(default=False, help_text=_("Sent with BODY=8BITMIME."))
    ret = models.CharField(max_length=4, blank=True, help_text=_("RFC 3461 RET: FULL or HDRS."))
    envid = models.CharField(max_length=100, blank=True, help_text=_("RFC 3461 ENVID."))
    client_address = models.GenericIPAddressField()
    helo = models.CharField(max_length=255, blank=True)
    tls = models.CharField(max_length=40, blank=True, help_text=_("TLS version of the incoming session."))
    authentic = models.BooleanField(
        null=True,
        help_text=_(
            "The sender was proven by SPF or DKIM at acceptance. Null: not evaluated, so not proven."
        ),
    )
    report = models.CharField(
        max_length=8, blank=True, choices=Report, help_text=_("Set on what the gateway wrote itself.")
    )
    report_of = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="reports",
        help_text=_("The message that this report is about."),
    )
    auth_results = models.CharField(
        max_length=500, blank=True, help_text=_("SPF, DKIM and DMARC as Authentication-Results has them.")
    )
    # For people who search the queue; taken from the headers as far as they can be read.
    message_id = models.CharField(max_length=255, blank=True)
    subject = models.CharField(max_length=255, blank=True)
    header_from = models.CharField(max_length=255, blank=True)
    content_deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["account", "accepted_at"]),
            # Not db_index=True, which makes a second index for LIKE on PostgreSQL that nothing asks.
            models.Index(fields=["message_id"], name="message_by_id"),
            models.Index("account", SenderKey("sender"), name="message_by_sender"),
            models.Index(fields=["report_of"], name="message_reports", condition=Q(report_of__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["report_of"], condition=Q(report="delay"), name="one_delay_warning"
            ),
        ]

    def __str__(self) -> str:
        return f"message {self.pk}"


class MessageContent(models.Model):
    """The bytes of a message, with the gateway's Received line in front, otherwise untouched."""

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True, related_name="content")
    data = models.BinaryField()

    def __str__(self) -> str:
        return f"content of message {self.message_id}"


def _state_is_one_of(states: Sequence[str]) -> models.Func:
    """`state IN (…)` in literals: SQLite uses a partial index only for the very words of its condition."""
    listed = ", ".join(f"'{state!s}'" for state in states)
    operator = f"= {listed}" if len(states) == 1 else f"IN ({listed})"
    return models.Func(
        models.F("state"), template=f"(%(expressions)s {operator})", output_field=models.BooleanField()
    )


class RecipientQuerySet(models.QuerySet["Recipient"]):
    def waiting(self) -> RecipientQuerySet:
        """Not yet final: queued, being sent, held, in quarantine or with a bounce due."""
        return self.filter(_state_is_one_of(Recipient.WAITING))

    def still_queued(self) -> RecipientQuerySet:
        """Queued, in the words that let `recipient_expiry` answer."""
        return self.filter(_state_is_one_of((Recipient.State.QUEUED,)))

    def bounce_due(self, now: datetime) -> RecipientQuerySet:
        """Given up and ripe for telling the sender, in the words that let `recipient_bounce` answer."""
        return self.filter(_state_is_one_of((Recipient.State.EXPIRED,)), next_attempt_at__lte=now).order_by(
            "next_attempt_at", "pk"
        )

    def due(self, next_hop_id: int, now: datetime) -> RecipientQuerySet:
        """Queued for the next hop and ripe for an attempt, oldest attempt time first."""
        return self.filter(
            next_hop_id=next_hop_id, state=Recipient.State.QUEUED, next_attempt_at__lte=now
        ).order_by("next_attempt_at", "pk")


class Recipient(models.Model):
    """One RCPT of a message: the unit of delivery, of counting and of reconciliation."""

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        SENDING = "sending", _("Sending")
        HELD = "held", _("Held")
        QUARANTINED = "quarantined", _("Quarantined")
        DELIVERED = "delivered", _("Delivered")
        BOUNCED = "bounced", _("Bounced")
        REJECTED = "rejected", _("Rejected, sender not told")
        EXPIRED = "expired", _("Bounce due")

    WAITING = (State.QUEUED, State.SENDING, State.HELD, State.QUARANTINED, State.EXPIRED)
    FINAL = (State.DELIVERED, State.BOUNCED, State.REJECTED)

    message = models.ForeignKey(Message, models.CASCADE, related_name="recipients")
    next_hop = models.ForeignKey(NextHop, models.PROTECT, related_name="recipients", db_index=False)
    address = models.CharField(max_length=320)
    state = models.CharField(max_length=12, choices=State, default=State.QUEUED)
    accepted_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(
        help_text=_("The next try, or when a bounce is due the next time that its way is looked for.")
    )
    expires_at = models.DateTimeField(
        help_text=_("On the account's running clock: wall time less all time paused before.")
    )
    attempts = models.PositiveIntegerField(default=0, help_text=_("Attempts that were about this recipient."))
    faults = models.PositiveSmallIntegerField(default=0, help_text=_("Times our own code failed on it."))
    claimed_by = models.CharField(max_length=64, blank=True, help_text=_("The courier that is sending it."))
    claimed_at = models.DateTimeField(null=True, blank=True)
    final_at = models.DateTimeField(null=True, blank=True)
    last_reply = models.TextField(blank=True)
    notify = models.CharField(max_length=28, blank=True, help_text=_("RFC 3461 NOTIFY."))
    orcpt = models.CharField(max_length=500, blank=True, help_text=_("RFC 3461 ORCPT."))

    objects = RecipientQuerySet.as_manager()

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["next_hop", "state", "next_attempt_at", "id"], name="recipient_due"),
            models.Index(
                fields=["next_hop", "accepted_at"],
                name="recipient_waiting",
                condition=Q(state__in=["queued", "sending", "held", "quarantined", "expired"]),
            ),
            models.Index(
                fields=["next_hop", "expires_at"], name="recipient_expiry", condition=Q(state="queued")
            ),
            models.Index(fields=["next_attempt_at"], name="recipient_bounce", condition=Q(state="expired")),
            models.Index(fields=["claimed_by"], name="recipient_claimed", condition=Q(state="sending")),
            models.Index(fields=["next_hop", "state", "final_at"], name="recipient_final"),
            # For the queue console, which lists by age whatever it filters by.
            models.Index(fields=["next_hop", "state", "accepted_at", "id"], name="recipient_listed"),
            models.Index("next_hop", Folded("address"), name="recipient_by_address"),
        ]

    def __str__(self) -> str:
        return f"{self.address} ({self.state})"


class Attempt(models.Model):
    """One try for one recipient, with the server's own words. Never changed."""

    class Result(models.TextChoices):
        DELIVERED = "delivered", _("Delivered")
        DEFERRED = "deferred", _("Deferred")
        REFUSED = "refused", _("Refused for good")
        HOST_FAILURE = "host_failure", _("Mail server failed")
        FAULT = "fault", _("Fault of our own")

    recipient = models.ForeignKey(Recipient, models.CASCADE, related_name="attempt_log")
    next_hop = models.ForeignKey(NextHop, models.CASCADE, related_name="attempts")
    at = models.DateTimeField(help_text=_("When the result was known."))
    duration_ms = models.PositiveIntegerField()
    host = models.CharField(max_length=260, blank=True)
    result = models.CharField(max_length=12, choices=Result)
    stage = models.CharField(
        max_length=12, help_text=_("dns, connect, banner, ehlo, starttls, auth, mail, rcpt, data or end.")
    )
    code = models.PositiveSmallIntegerField(null=True, blank=True)
    reply = models.TextField(blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["next_hop", "at", "result"], name="attempt_by_time")]

    def __str__(self) -> str:
        return f"{self.result} at {self.stage}"


class Pause(models.Model):
    """Inbound deliveries of an account are held back, from `started_at` until `ended_at`."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="pauses")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    started_by = models.CharField(max_length=120)
    ended_by = models.CharField(max_length=120, blank=True)
    reason = models.TextField(blank=True)

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["account"], condition=Q(ended_at=None), name="one_open_pause"),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=models.F("started_at")), name="pause_forwards"
            ),
        ]

    def __str__(self) -> str:
        return f"pause since {self.started_at:%Y-%m-%d %H:%M}"

    def length(self, now: datetime) -> timedelta:
        return (self.ended_at or now) - self.started_at


class BulkAction(models.Model):
    """What somebody did to one, many or all matching recipients of the queue, and how far it is.

    `criteria` is the frozen selection (`delivery.reads.search.Criteria`), empty for an undo. It goes through
    the queue from the oldest to the newest; `at` and `last_id` say where it is.
    """

    class Kind(models.TextChoices):
        RETRY = "retry", _("Retry now")
        HOLD = "hold", _("Hold")
        RELEASE = "release", _("Release")
        REDIRECT = "redirect", _("Redirect")
        BOUNCE = "bounce", _("Bounce")
        REJECT = "reject", _("Reject")

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        STOPPED = "stopped", _("Stopped")

    account = models.ForeignKey(Account, models.CASCADE, related_name="bulk_actions")
    kind = models.CharField(max_length=8, choices=Kind)
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    criteria = models.JSONField(default=dict, blank=True)
    route = models.ForeignKey(Route, models.SET_NULL, null=True, blank=True, related_name="+")
    undoes = models.OneToOneField(
        "self", models.CASCADE, null=True, blank=True, related_name="undone_by", editable=False
    )
    reason = models.TextField()
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    ended_at = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(help_text=_("The last step was then; old while running: nobody is at it."))
    at = models.DateTimeField(null=True, blank=True)
    last_id = models.BigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True, blank=True, help_text=_("Recipients to look at."))
    seen = models.PositiveBigIntegerField(default=0)
    done = models.PositiveBigIntegerField(default=0)
    skipped = models.PositiveBigIntegerField(
        default=0, help_text=_("Selected, but in a state that this action leaves alone.")
    )

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["account", "-id"], name="bulk_by_account"),
            models.Index(fields=["beat_at"], name="bulk_running", condition=Q(state="running")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.state})"


class BulkActionItem(models.Model):
    """One recipient that an action changed: for its timeline, and to undo it."""

    action = models.ForeignKey(BulkAction, models.CASCADE, related_name="items", db_index=False)
    recipient = models.ForeignKey(Recipient, models.CASCADE, related_name="action_items")
    at = models.DateTimeField()
    hop_before = models.ForeignKey(
        NextHop, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["action", "id"], name="bulk_item_order")]

    def __str__(self) -> str:
        return f"{self.action_id}: {self.recipient_id}"


class QueueSample(models.Model):
    """How deep an account's queue was at a minute, while something waits: for pictures and forecasts."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="queue_samples")
    at = models.DateTimeField(help_text=_("A whole minute."))
    queued = models.PositiveIntegerField(help_text=_("Recipients that wait."))
    delivered = models.PositiveIntegerField(help_text=_("Recipients delivered in the minute before."))
    disk_free = models.PositiveBigIntegerField(
        null=True, help_text=_("Bytes, where the database is on this machine.")
    )

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "at"], name="one_sample_a_minute")]

    def __str__(self) -> str:
        return f"{self.queued} at {self.at:%H:%M}"
