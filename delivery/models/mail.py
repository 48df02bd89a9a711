"""Messages as they were accepted, and their bytes."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account
from delivery.models.functions import SenderKey


class Message(models.Model):
    """A message as it was accepted for one account, or a report of ours. Its bytes are in MessageContent."""

    class Report(models.TextChoices):
        FAILURE = "failure", _("Bounce")
        DELAY = "delay", _("Delay warning")
        RELAYED = "relayed", _("Receipt")

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
