"""What is stored of whom an outage alerts when, and how far a reader of the audit has come."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Contact
from monitoring.models import Monitor, Outage


class AlertStream(models.Model):
    """The alerts of one outage to one contact: which slot is next, and when."""

    outage = models.ForeignKey(Outage, models.CASCADE, related_name="alert_streams")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="alert_streams")
    next_at = models.DateTimeField()
    slot = models.PositiveIntegerField(default=0, help_text=_("The number of alerts decided so far."))
    last_at = models.DateTimeField(null=True, blank=True)
    recovered_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When the recovery notice was decided.")
    )

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["outage", "contact"], name="one_stream_per_contact")]
        indexes = [models.Index(fields=["next_at"], name="alert_due", condition=Q(recovered_at=None))]

    def __str__(self) -> str:
        return f"alerts to {self.contact} about {self.outage}"


class EscalationStep(models.Model):
    """When a contact's turn comes in an outage of a monitor. Whoever has no row is at step 1: at once."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="escalation_steps")
    contact = models.ForeignKey(Contact, models.CASCADE, related_name="escalation_steps")
    step = models.PositiveSmallIntegerField()

    class Meta(TypedModelMeta):
        constraints = [
            models.UniqueConstraint(fields=["monitor", "contact"], name="one_step_per_contact"),
            models.CheckConstraint(condition=Q(step__range=(2, 5)), name="escalation_step_range"),
        ]

    def __str__(self) -> str:
        return f"{self.contact} at step {self.step} of {self.monitor}"


class AlertSettings(models.Model):
    """The numbers of an account that have to do with alerts."""

    account = models.OneToOneField(Account, models.CASCADE, primary_key=True, related_name="alert_settings")
    interval_minutes = models.PositiveSmallIntegerField(
        _("minutes between alerts"), default=60, help_text=_("15 to 1440 minutes.")
    )
    step_minutes = models.PositiveSmallIntegerField(
        _("minutes until the next step"), default=10, help_text=_("1 to 1440 minutes.")
    )
    activate_minutes = models.PositiveSmallIntegerField(
        _("minutes of outage until continuity mode is activated"), null=True, blank=True,
        help_text=_("1 to 1440 minutes. Empty: only people activate it."),
    )  # fmt: skip

    class Meta(TypedModelMeta):
        constraints = [
            models.CheckConstraint(
                condition=Q(interval_minutes__range=(15, 1440)), name="alert_interval_range"
            ),
            models.CheckConstraint(condition=Q(step_minutes__range=(1, 1440)), name="alert_step_range"),
            models.CheckConstraint(
                condition=Q(activate_minutes=None) | Q(activate_minutes__range=(1, 1440)),
                name="alert_activate_range",
            ),
        ]

    def __str__(self) -> str:
        return f"alert settings of {self.account}"


class FeedCursor(models.Model):
    """How far a reader of an account's audit feed has come: the number of the last row it dealt with."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="feed_cursors")
    reader = models.CharField(max_length=32)
    number = models.PositiveBigIntegerField(default=0)

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["account", "reader"], name="one_cursor_per_reader")]

    def __str__(self) -> str:
        return f"{self.reader} at {self.number}"
