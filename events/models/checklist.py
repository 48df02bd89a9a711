"""What is stored of coming back to normal: the checklist of an ended event, and the calls of users."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Person
from events.models.event import ContinuityEvent


class Checklist(models.Model):
    """What is left to do after an event. Open until each of its items is settled or waived."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="checklists")
    event = models.OneToOneField(ContinuityEvent, models.CASCADE, related_name="checklist")
    opened_at = models.DateTimeField()
    looked_at = models.DateTimeField(help_text=_("When the clock last looked how its items are."))
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["account"], name="checklist_open", condition=Q(closed_at=None))]

    def __str__(self) -> str:
        return f"checklist of {self.event}"


class ChecklistItem(models.Model):
    """One item of a checklist as it was last written down; what it is about says how it is just now."""

    class Kind(models.TextChoices):
        DEFINITIONS = "definitions", _("End event definitions")
        DELIVERIES = "deliveries", _("Let deliveries flow")
        ROUTE = "route", _("Test the delivery route")
        QUEUE = "queue", _("Drain the queue")
        USERS = "users", _("Tell the users")
        CALLS = "calls", _("Watch support calls")

    class State(models.TextChoices):
        OPEN = "open", _("To do")
        SETTLED = "settled", _("Settled")
        WAIVED = "waived", _("Waived")

    checklist = models.ForeignKey(Checklist, models.CASCADE, related_name="items")
    kind = models.CharField(max_length=12, choices=Kind)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(
        max_length=120, blank=True, help_text=_("Who did it; empty when nothing had to be done.")
    )
    reason = models.TextField(blank=True, help_text=_("Why it was waived."))

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["checklist", "kind"], name="checklist_item_once")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.state}"


class SupportCall(models.Model):
    """A user who called because of the mail: who, what, and whether they were helped."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="calls")
    event = models.ForeignKey(ContinuityEvent, models.SET_NULL, null=True, blank=True, related_name="calls")
    person = models.ForeignKey(Person, models.SET_NULL, null=True, blank=True, related_name="calls")
    name = models.CharField(max_length=160, help_text=_("Who called, as it was when the call was logged."))
    what = models.TextField(max_length=2000)
    logged_at = models.DateTimeField()
    logged_by = models.CharField(max_length=120)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=120, blank=True)

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["account", "-id"], name="call_latest"),
            models.Index(fields=["account", "-id"], name="call_open", condition=Q(settled_at=None)),
            models.Index(fields=["event", "-id"], name="call_of_event"),
        ]

    def __str__(self) -> str:
        return f"call of {self.name}"
