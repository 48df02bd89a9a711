"""Accounts in the Django admin: for the platform administrator."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import Account, AuditEntry, Contact, Group, MailDomain, Membership, Person, User

admin.site.register(User, UserAdmin)


@admin.register(Account)
class AccountAdmin(admin.ModelAdmin[Account]):
    list_display = ("name", "slug", "time_zone", "is_demo")


@admin.register(MailDomain)
class MailDomainAdmin(admin.ModelAdmin[MailDomain]):
    list_display = ("name", "account", "policy")


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin[Membership]):
    list_display = ("user", "account", "role")


@admin.register(Person)
class PersonAdmin(admin.ModelAdmin[Person]):
    list_display = ("name", "address", "alternate_address", "phone", "account")
    search_fields = ("name", "address")


@admin.register(Group)
class GroupAdmin(admin.ModelAdmin[Group]):
    list_display = ("name", "account")
    list_filter = ("account",)
    autocomplete_fields = ("people",)


@admin.register(Contact)
class ContactAdmin(admin.ModelAdmin[Contact]):
    list_display = ("name", "account", "time_zone", "active")


@admin.register(AuditEntry)
class AuditEntryAdmin(admin.ModelAdmin[AuditEntry]):
    """Read only: nobody changes what was recorded."""

    list_display = ("number", "at", "account", "actor_name", "action", "subject")
    list_filter = ("by",)

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        return False
