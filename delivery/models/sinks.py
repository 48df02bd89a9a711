"""Mail that ends here: it is neither queued nor delivered, whoever it is for takes it from its row."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.models import Account


class SinkRoute(models.Model):
    """An address at the gateway itself. Its mail is filed for a part of the product, such as monitoring."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="sink_routes")
    address = models.CharField(max_length=320, unique=True, help_text=_("Lower case, not to be guessed."))

    def __str__(self) -> str:
        return self.address


class SinkMail(models.Model):
    """One message for a sink. It is in no queue and in no books, is never bounced, and goes once read."""

    sink = models.ForeignKey(SinkRoute, models.CASCADE, related_name="mail")
    received_at = models.DateTimeField()
    data = models.BinaryField(help_text=_("Its beginning, up to the limit of sinks."))

    class Meta(TypedModelMeta):
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"mail {self.pk} for {self.sink_id}"
