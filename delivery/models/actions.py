"""What people did to many recipients of the queue at once."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account
from delivery.models.queue import Recipient
from delivery.models.routes import NextHop, Route


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
