"""Deliveries held back, and how deep the queue was."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account


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
