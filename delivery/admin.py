"""Routes and their state for the platform administrator. Messages and attempts can only be looked at."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from delivery.forms import HostsOfOneRoute, RouteHostForm
from delivery.models import (
    Attempt,
    DeliverySettings,
    KnownRecipient,
    Message,
    NextHop,
    Pause,
    Recipient,
    RecipientImport,
    Route,
    RouteHost,
    RouteTest,
    SubmissionUser,
)


class LookOnly(admin.ModelAdmin[models.Model]):
    """What services write is not edited by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class RouteHostInline(admin.TabularInline[RouteHost, Route]):
    model = RouteHost
    form = RouteHostForm
    formset = HostsOfOneRoute
    extra = 0


@admin.register(Route)
class RouteAdmin(admin.ModelAdmin[Route]):
    list_display = ("name", "account", "kind", "max_connections")
    list_filter = ("kind", "account")
    search_fields = ("name",)
    inlines = (RouteHostInline,)


@admin.register(DeliverySettings)
class DeliverySettingsAdmin(admin.ModelAdmin[DeliverySettings]):
    list_display = ("account", "queue_hours")


@admin.register(SubmissionUser)
class SubmissionUserAdmin(LookOnly):
    """To look at: they are made in the console's settings, where the password is never shown again."""

    list_display = ("username", "account", "enabled")
    list_filter = ("account",)
    exclude = ("password",)


@admin.register(KnownRecipient)
class KnownRecipientAdmin(admin.ModelAdmin[KnownRecipient]):
    list_display = ("address", "domain", "source")
    list_filter = ("source",)
    search_fields = ("address",)
    raw_id_fields = ("domain",)


@admin.register(NextHop)
class NextHopAdmin(LookOnly):
    list_display = ("__str__", "state", "state_since", "failures", "not_before", "last_reply")
    list_filter = ("state",)
    list_select_related = ("route",)


@admin.register(Pause)
class PauseAdmin(LookOnly):
    list_display = ("account", "started_at", "started_by", "ended_at", "ended_by")
    list_select_related = ("account",)


@admin.register(Message)
class MessageAdmin(LookOnly):
    list_display = ("id", "account", "accepted_at", "sender", "size")
    list_select_related = ("account",)
    show_full_result_count = False


@admin.register(Recipient)
class RecipientAdmin(LookOnly):
    list_display = ("address", "state", "accepted_at", "next_attempt_at", "attempts", "claimed_by")
    list_filter = ("state",)
    show_full_result_count = False


@admin.register(Attempt)
class AttemptAdmin(LookOnly):
    list_display = ("at", "result", "stage", "code", "host", "duration_ms")
    list_filter = ("result",)
    show_full_result_count = False


@admin.register(RouteTest)
class RouteTestAdmin(LookOnly):
    list_display = ("route", "asked_at", "asked_by", "state", "result")
    list_filter = ("state", "result")
    list_select_related = ("route",)


@admin.register(RecipientImport)
class RecipientImportAdmin(LookOnly):
    list_display = ("domain", "made_at", "made_by", "state", "added", "removed")
    list_filter = ("state",)
    list_select_related = ("domain",)
    exclude = ("addresses",)
