"""Codes that prove an alternate address or phone of a person."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account, Person
from notifications import codes


class PersonCode(models.Model):
    """A code on its way to an address that a person typed in. It becomes theirs when the code comes back."""

    class State(models.TextChoices):
        PENDING = "pending", _("Pending")
        SENDING = "sending", _("Sending")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    person = models.ForeignKey(Person, models.CASCADE, related_name="codes")
    channel = models.CharField(max_length=8)
    address = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    words = models.TextField(blank=True, help_text=_("What the provider said."))
    wrong_codes = models.PositiveSmallIntegerField(default=0)
    used = models.BooleanField(default=False)

    class Meta(TypedModelMeta):
        indexes = [
            models.Index(fields=["account", "-created_at"], name="person_code_lately"),
            models.Index(fields=["created_at"], name="person_code_due", condition=Q(state="pending")),
        ]

    def __str__(self) -> str:
        return f"code {self.pk}"

    @property
    def code(self) -> str:
        """The six digits."""
        key = salted_hmac("notifications.person-code", "", algorithm="sha256").digest()
        return codes.code_of(key, self.pk, f"{self.channel}:{self.address}")
