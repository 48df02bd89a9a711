"""Monitors in the Django admin: for the platform administrator."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from monitoring.models import Monitor, Outage, Window


@admin.register(Monitor)
class MonitorAdmin(admin.ModelAdmin[Monitor]):
    list_display = ("description", "account", "route", "threshold", "counter", "active")
    list_filter = ("active",)
    list_select_related = ("account", "route")
    filter_horizontal = ("contacts",)
    readonly_fields = ("counter", "judged_until", "sink")


class _ReadOnly:
    """What monitoring saw is not for editing."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Outage)
class OutageAdmin(_ReadOnly, admin.ModelAdmin[Outage]):
    list_display = ("monitor", "account", "failing_since", "opened_at", "closed_at")
    list_select_related = ("account", "monitor")
    date_hierarchy = "opened_at"


@admin.register(Window)
class WindowAdmin(_ReadOnly, admin.ModelAdmin[Window]):
    list_display = ("monitor", "start", "end", "verdict", "step", "counter", "source", "reply")
    list_filter = ("verdict", "source")
    list_select_related = ("monitor",)
    show_full_result_count = False
