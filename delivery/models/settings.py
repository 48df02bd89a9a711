"""How an account treats its mail, and who may send by the submission port."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account


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
