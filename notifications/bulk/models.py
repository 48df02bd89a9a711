"""What is stored of bulk notices: the text and whom it is for, and each person's copy with its fate."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Group, Person
from notifications.bulk.rules import STUCK_AFTER


class Notice(models.Model):
    """One text to many people. It is sent as it was when it was started, to those who were there then."""

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        RUNNING = "running", _("Being sent")
        PAUSED = "paused", _("Paused")
        CANCELLED = "cancelled", _("Cancelled")
        DONE = "done", _("Finished")

    class Way(models.TextChoices):
        """By which channels, in order: for each person the first for which there is an address.

        One that fails for good is followed by the next, never by one before it.
        """

        EMAIL_SMS = "email,sms", _("E-mail; SMS to those without an e-mail address")
        SMS_EMAIL = "sms,email", _("SMS; e-mail to those without a phone number")
        EMAIL = "email", _("E-mail only")
        SMS = "sms", _("SMS only")

    account = models.ForeignKey(Account, models.CASCADE, related_name="notices")
    subject = models.CharField(max_length=150)
    text = models.TextField(max_length=20_000)
    sms_text = models.TextField(_("SMS text"), max_length=600, blank=True)
    way = models.CharField(max_length=12, choices=Way, default=Way.EMAIL_SMS)
    everybody = models.BooleanField(default=False)
    groups = models.ManyToManyField(Group, blank=True, related_name="notices")
    state = models.CharField(max_length=12, choices=State, default=State.DRAFT)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    started_at = models.DateTimeField(null=True, blank=True)
    started_by = models.CharField(max_length=120, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    listed_upto = models.BigIntegerField(
        default=0, help_text=_("People up to this primary key have their copies.")
    )
    listed = models.BooleanField(default=False, help_text=_("Every person has their copy."))
    beat_at = models.DateTimeField(null=True, blank=True, help_text=_("Last sign of life of a sender."))
    away_until = models.DateTimeField(
        null=True, blank=True, help_text=_("Nothing can be handed over until then.")
    )
    away_times = models.PositiveIntegerField(default=0)
    away_words = models.TextField(blank=True)

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["account", "-id"], name="notice_latest"),
            models.Index(fields=["state"], name="notice_state"),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def order(self) -> tuple[str, ...]:
        """The channels, the preferred one first."""
        return tuple(self.way.split(","))


class NoticeRecipientQuerySet(models.QuerySet["NoticeRecipient"]):
    def due(self, notice_id: int, now: datetime) -> NoticeRecipientQuerySet:
        """Copies to be sent now."""
        pending = self.filter(notice=notice_id, state=NoticeRecipient.State.PENDING)
        return pending.filter(due_at__lte=now).order_by("pk")

    def stuck(self, now: datetime) -> NoticeRecipientQuerySet:
        """Copies claimed by a sender that has shown no sign of life; also by a clock that was ahead."""
        past, future = Q(claimed_at__lte=now - STUCK_AFTER), Q(claimed_at__gt=now + STUCK_AFTER)
        return self.filter(past | future, state=NoticeRecipient.State.SENDING)


class NoticeRecipient(models.Model):
    """One person's copy of a notice: `pending → sending → sent | failed | unknown`, by conditional update.

    Name and address are those of the moment in which it was listed; a retry takes the present address.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        SENDING = "sending", _("Being sent")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")
        UNKNOWN = "unknown", _("Perhaps sent")
        UNREACHABLE = "unreachable", _("No address")
        CANCELLED = "cancelled", _("Not sent")

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="recipients")
    person = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    name = models.CharField(max_length=120)
    channel = models.CharField(max_length=8, blank=True)
    address = models.CharField(max_length=254, blank=True)
    state = models.CharField(max_length=12, choices=State, default=State.PENDING)
    due_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    claim = models.CharField(max_length=32, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    words = models.TextField(blank=True, help_text=_("The provider's, or why it failed."))
    earlier = models.TextField(
        blank=True, help_text=_("By which channel it failed before this one, and with which words.")
    )

    objects = NoticeRecipientQuerySet.as_manager()

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["notice", "person"], name="notice_person_once")]
        indexes = [
            models.Index(fields=["notice", "state", "id"], name="notice_copy_state"),
            models.Index(fields=["notice", "ended_at"], name="notice_copy_ended"),
            models.Index(fields=["claimed_at"], name="notice_copy_claimed", condition=Q(state="sending")),
            models.Index(fields=["claimed_at"], name="notice_copy_sms", condition=Q(channel="sms")),
        ]

    def __str__(self) -> str:
        return f"{self.channel} to {self.name}"
