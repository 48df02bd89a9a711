"""Who is still to get a message, and each try to deliver it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from delivery.models.functions import Folded
from delivery.models.mail import Message
from delivery.models.routes import NextHop


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

    relay_due = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("Delivered where RFC 3461 is not known, and its sender asked to be told: not yet done."),
    )

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
            models.Index(fields=["id"], name="recipient_relayed", condition=Q(relay_due=True)),
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
