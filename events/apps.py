from django.apps import AppConfig

from events import logs


class EventsConfig(AppConfig):
    """Decides: continuity events, manage links, the alert policy and the portal."""

    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from events.jobs import tick_now
        from monitoring.signals import outages_moved

        logs.install()
        outages_moved.connect(tick_now)
