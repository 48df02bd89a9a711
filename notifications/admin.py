"""Notifications in the Django admin: contact points to edit, what was sent to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from notifications.masking import MaskedAddress
from notifications.models import Attempt, ContactPoint, DemoMessage, Notification, Suspension


class ContactPointForm(MaskedAddress):
    class Meta:
        model = ContactPoint
        fields = ("contact", "channel", "address", "order")


@admin.register(ContactPoint)
class ContactPointAdmin(admin.ModelAdmin[ContactPoint]):
    """The state is shown, not set: a contact point counts when its code was typed in, see the console."""

    form = ContactPointForm
    readonly_fields = ("verified_at", "disabled_at", "disabled_reason")
    list_display = ("contact", "channel", "shown_address", "order", "verified_at", "disabled_at")
    list_filter = ("channel", "contact__account")
    list_select_related = ("contact",)

    def save_model(self, request: HttpRequest, obj: ContactPoint, form: Any, change: bool) -> None:
        if {"contact", "channel", "address"} & set(form.changed_data):
            obj.begin_anew()
        super().save_model(request, obj, form, change)


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """What happened is not edited."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class AttemptInline(admin.TabularInline[Attempt, Notification]):
    model = Attempt
    fields = ("started_at", "finished_at", "channel", "state", "repeat", "provider_reply")
    readonly_fields = fields
    can_delete = False
    extra = 0
    ordering = ("pk",)

    def has_add_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "account", "contact", "kind", "state", "sent_at", "failure")
    list_filter = ("state", "kind", "account")
    list_select_related = ("account", "contact")
    date_hierarchy = "created_at"
    inlines = (AttemptInline,)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "contact_name", "channel", "state", "repeat", "provider_reply")
    list_filter = ("state", "channel")
    list_select_related = ("notification__contact",)

    @admin.display(description=_("contact"))
    def contact_name(self, attempt: Attempt) -> str:
        return attempt.notification.contact.name


@admin.register(Suspension)
class SuspensionAdmin(ReadOnlyAdmin):
    list_display = ("account", "contact", "made_at", "made_by", "until")
    list_select_related = ("account", "contact")


@admin.register(DemoMessage)
class DemoMessageAdmin(ReadOnlyAdmin):
    list_display = ("at", "channel", "to", "subject")
