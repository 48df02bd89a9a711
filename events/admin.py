"""What support staff may look at. Only links can be ended here; everything else is decided by services."""

from __future__ import annotations

from typing import cast

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.client import client_address
from accounts.models import User
from accounts.services import Actor
from events import services
from events.models import AlertSettings, AlertStream, ContinuityEvent, ManageLink


class ReadOnlyAdmin(admin.ModelAdmin[Model]):
    """Shows rows; adds, changes and deletes none."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(ContinuityEvent)
class ContinuityEventAdmin(ReadOnlyAdmin):
    list_display = ("title", "account", "state", "starts_at", "ends_at", "began", "began_by", "ended")
    list_filter = ("account", "state", "began")
    list_select_related = ("account",)
    search_fields = ("title", "began_by")


@admin.register(AlertStream)
class AlertStreamAdmin(ReadOnlyAdmin):
    list_display = ("outage", "contact", "slot", "last_at", "next_at", "recovered_at")
    list_filter = ("outage__account",)
    list_select_related = ("contact", "outage__monitor")


@admin.register(ManageLink)
class ManageLinkAdmin(ReadOnlyAdmin):
    """The token is not shown: whoever has it can act as the contact."""

    list_display = (
        "contact",
        "account",
        "created_at",
        "expires_at",
        "revoked_at",
        "opened",
        "last_opened_at",
    )
    list_filter = ("account",)
    list_select_related = ("account", "contact")
    actions = ("revoke",)

    @admin.action(description=_("Revoke the selected links"), permissions=["delete_links"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        actor = Actor.user(cast(User, request.user), client_address(request))
        for link in ManageLink.objects.filter(pk__in=queryset.values("pk"), revoked_at=None):
            services.revoke(link, actor)

    def has_delete_links_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.delete_managelink")


@admin.register(AlertSettings)
class AlertSettingsAdmin(ReadOnlyAdmin):
    list_display = ("account", "interval_minutes", "activate_minutes")
