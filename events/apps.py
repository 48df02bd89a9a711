from django.apps import AppConfig

from events import logs


class EventsConfig(AppConfig):
    """Decides: continuity events, manage links, the alert policy and the portal."""

    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        logs.install()
