from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who: accounts, domains, people, contacts, and the audit of every decision."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
