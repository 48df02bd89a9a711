"""What is stored of API tokens, and of the requests made with them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta


class ApiToken(models.Model):
    """A program's way into one account. Its secret is shown once; only a keyed hash of it is kept."""

    class Scope(models.TextChoices):
        STATUS_READ = "status:read", _("Read the status")
        EVENTS_READ = "events:read", _("Read events")
        EVENTS_WRITE = "events:write", _("Activate, extend and stop events")
        NOTIFICATIONS_READ = "notifications:read", _("Read suspensions")
        NOTIFICATIONS_WRITE = "notifications:write", _("Suspend notifications and end that")
        PAUSE_WRITE = "pause:write", _("Pause and resume deliveries")
        AUDIT_READ = "audit:read", _("Read the audit")

    account = models.ForeignKey("accounts.Account", models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scopes = models.JSONField(default=list)
    secret_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=120)
    used_at = models.DateTimeField(null=True, blank=True, help_text=_("To the hour."))
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class ApiRequest(models.Model):
    """A request that was done, by its idempotency key: asked again, it gets the same answer."""

    token = models.ForeignKey(ApiToken, models.CASCADE, related_name="requests")
    key_hash = models.CharField(max_length=64)
    body_hash = models.CharField(max_length=64, help_text=_("Of the address and the body."))
    answer = models.JSONField()
    made_at = models.DateTimeField()

    class Meta(TypedModelMeta):
        constraints = [models.UniqueConstraint(fields=["token", "key_hash"], name="api_request_once")]

    def __str__(self) -> str:
        return f"{self.token_id} {self.made_at:%Y-%m-%d %H:%M}"
