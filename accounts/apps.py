from django.apps import AppConfig
from django.contrib.auth.signals import user_login_failed


class AccountsConfig(AppConfig):
    """Who: accounts, domains, people, contacts, and the audit of every decision."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from axes.signals import user_locked_out

        from accounts.signin import books

        user_login_failed.connect(books.on_failure)
        user_locked_out.connect(books.on_lock_out)
