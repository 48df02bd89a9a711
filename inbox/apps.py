from django.apps import AppConfig


class InboxConfig(AppConfig):
    """Lets people work during an event: the emergency inbox (none yet)."""

    name = "inbox"
    default_auto_field = "django.db.models.BigAutoField"
