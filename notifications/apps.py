from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Tells: the outbox of alerts, contact points, transports, suspensions."""

    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import checks  # noqa: F401  (registers them; models must be loaded first)
