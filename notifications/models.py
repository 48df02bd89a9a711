"""What is stored of telling: how to reach contacts, the outbox, its attempts, suspensions."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

import notifications.bulk.models
import notifications.people.models  # noqa: F401  (Django looks for models here)
from accounts.models import Account, Contact, MailDomain
from notifications import addresses, codes


class ContactPointQuerySet(models.QuerySet["ContactPoint"]):
    def usable(self) -> ContactPointQuerySet:
        """Verified and not disabled, in the order in which they are tried."""
        return self.filter(verified_at__isnull=False, disabled_at=None).order_by("order", "pk")


class ContactPoint(models.Model):
    """One way to reach a contact. Only verified points that are not disabled are used, in order."""

    class Channel(models.TextChoices):
        EMAIL = "email", _("E-mail")
        SMS = "sms", _("SMS")
        APP = "app", _("App notification")

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="points")
    channel = models.CharField(max_length=8, choices=Channel)
    address = models.CharField(
        max_length=500, help_text=_("E-mail address, phone number in E.164, or the app's notification URL.")
    )
    order = models.PositiveSmallIntegerField(default=1, help_text=_("Lower is tried first."))
    verified_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.TextField(blank=True)
    wrong_codes = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text=_("Wrong guesses since the last verification code was sent.")
    )

    objects = ContactPointQuerySet.as_manager()

    class Meta(TypedModelMeta):
        ordering = ("order", "pk")
        constraints = [
            models.UniqueConstraint(fields=["contact", "channel", "address"], name="contact_point_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} of {self.contact}"

    def clean(self) -> None:
        """Put the address into its one form; refuse what cannot work or is not out of band."""
        super().clean()
        if not self.contact_id or not self.address:
            return
        try:
            self.address = addresses.cleaned(self.channel, self.address)
            if self.channel == self.Channel.EMAIL:
                domains = MailDomain.objects.filter(account=self.contact.account_id)
                addresses.check_out_of_band(self.address, list(domains.values_list("name", flat=True)))
        except addresses.Unusable as unusable:
            raise ValidationError({"address": str(unusable)}) from unusable

    def begin_anew(self) -> None:
        """Another address: what was known of the old one does not hold for it. Not saved here."""
        self.verified_at = self.disabled_at = None
        self.disabled_reason, self.wrong_codes = "", 0

    @property
    def shown_address(self) -> str:
        """The address for pages: an app's URL holds secrets, so only its service is named."""
        return addresses.masked(self.address) if self.channel == self.Channel.APP else self.address


class NotificationQuerySet(models.QuerySet["Notification"]):
    def due(self, now: datetime) -> NotificationQuerySet:
        """Waiting for a try that is due, longest waiting first."""
        return self.filter(state=Notification.State.PENDING, due_at__lte=now).order_by("due_at", "pk")

    def held_back(self) -> NotificationQuerySet:
        """Waiting for a limit's span, or a provider's pause, to end."""
        return self.filter(state=Notification.State.PENDING).exclude(held_back="")

    def stuck(self, since: datetime) -> NotificationQuerySet:
        """Claimed, and without a sign of life from whoever claimed it since then."""
        return self.filter(state=Notification.State.SENDING, claimed_at__lte=since).order_by(
            "claimed_at", "pk"
        )


class Notification(models.Model):
    """The outbox: one thing to tell one contact, written in the transaction that decided it.

    What it is about is known here only by `kind`, `context` (facts for the template) and the opaque,
    unique `dedupe_key`.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        SENDING = "sending", _("Sending")
        SENT = "sent", _("Sent")
        DELIVERED = "delivered", _("Delivered")
        FAILED = "failed", _("Failed")

    account = models.ForeignKey(Account, models.CASCADE, related_name="notifications")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="notifications")
    point = models.ForeignKey(
        ContactPoint,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notifications",
        help_text=_("Only for the kinds that go to one contact point, verified or not: code and test."),
    )
    points_wanted = models.PositiveSmallIntegerField(
        default=1,
        help_text=_("How many contact points should have it: one more each time that nobody has seen it."),
    )
    kind = models.CharField(max_length=24, help_text=_("Names the templates, such as outage or recovery."))
    context = models.JSONField(default=dict)
    dedupe_key = models.CharField(max_length=120, unique=True)
    state = models.CharField(max_length=12, choices=State, default=State.PENDING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text=_("The next try, first or repeated, is due then."))
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    held_back = models.TextField(
        blank=True,
        help_text=_("Which limit it waits for, or kept some of several contact points from being used."),
    )
    failure = models.TextField(blank=True, help_text=_("Why it failed for good."))

    objects = NotificationQuerySet.as_manager()

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["due_at"], name="notification_due", condition=Q(state="pending")),
            models.Index(fields=["claimed_at"], name="notification_stuck", condition=Q(state="sending")),
            models.Index(fields=["account", "-created_at"], name="notification_latest"),
            models.Index(fields=["account", "state", "-created_at"], name="notification_by_state"),
            models.Index(fields=["account", "kind", "-created_at"], name="notification_by_kind"),
            models.Index(fields=["contact", "-created_at"], name="notification_by_contact"),
            models.Index(fields=["account"], name="notification_held", condition=~Q(held_back="")),
            models.Index(
                fields=["point", "-created_at"],
                name="notification_of_point",
                condition=Q(point__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.contact}"

    def code_for(self, point: ContactPoint) -> str:
        """The verification code that a notification of the kind `code` carries to its contact point."""
        key = salted_hmac("notifications.verification", "", algorithm="sha256").digest()
        return codes.code_of(key, self.pk, f"{point.channel}:{point.address}")


class Attempt(models.Model):
    """One use of one contact point for a notification, with the provider's words."""

    class State(models.TextChoices):
        SENDING = "sending", _("Sending")
        SENT = "sent", _("Accepted by the provider")
        DELIVERED = "delivered", _("Delivered")
        TEMPORARY = "temporary", _("Failed for now")
        PERMANENT = "permanent", _("Failed for good")
        UNKNOWN = "unknown", _("Perhaps arrived")

    notification = models.ForeignKey(Notification, models.CASCADE, related_name="attempts")
    point = models.ForeignKey(ContactPoint, models.SET_NULL, null=True, related_name="attempts")
    channel = models.CharField(max_length=8, choices=ContactPoint.Channel)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=12, choices=State, default=State.SENDING)
    repeat = models.BooleanField(
        default=False, help_text=_("Sent again after a crash; marked so in its text.")
    )
    provider_reply = models.TextField(blank=True)
    receipt_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When the provider told what became of it.")
    )
    retry_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=_("Before then the provider wants nothing more: 429 with Retry-After."),
    )

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["channel", "started_at"], name="attempt_lately"),
            models.Index(fields=["retry_at"], name="attempt_retry", condition=Q(retry_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"


class SuspensionQuerySet(models.QuerySet["Suspension"]):
    def silencing(self, account_id: int, contact_id: int | None, now: datetime) -> SuspensionQuerySet:
        """Those running for a contact, everybody's and their own; without one, everybody's."""
        whom = Q(contact=None) if contact_id is None else Q(contact=None) | Q(contact=contact_id)
        return self.filter(whom, account=account_id, until__gt=now)


class Suspension(models.Model):
    """Outage alerts are silenced until `until`, for one contact or (no contact) for everybody.

    It covers outages that were open when it was made: `made_at` is compared with their opening.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="suspensions")
    contact = models.ForeignKey(Contact, models.CASCADE, null=True, blank=True, related_name="suspensions")
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    until = models.DateTimeField()

    objects = SuspensionQuerySet.as_manager()

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["account", "until"])]

    def __str__(self) -> str:
        return f"suspended until {self.until:%Y-%m-%d %H:%M}"


class MessageTemplate(models.Model):
    """An account's own text in place of a shipped one: one part of one kind of message in one language."""

    class Part(models.TextChoices):
        SUBJECT = "subject", _("Subject")
        TEXT = "text", _("Text of mails and app notifications")
        SMS = "sms", _("SMS")

    account = models.ForeignKey(Account, models.CASCADE, related_name="message_templates")
    kind = models.CharField(max_length=24)
    language = models.CharField(max_length=16)
    part = models.CharField(max_length=8, choices=Part)
    body = models.TextField()

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(
                fields=["account", "kind", "language", "part"], name="message_template_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.part} ({self.language})"


class DemoMessage(models.Model):
    """What the demo transport "sent": the demo account's alert inbox. Nothing leaves the machine."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="demo_messages")
    at = models.DateTimeField()
    channel = models.CharField(max_length=8)
    to = models.CharField(max_length=500)
    subject = models.CharField(max_length=255, blank=True)
    text = models.TextField()
    html = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.channel} to {self.to}"
