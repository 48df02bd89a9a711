from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Puts it together: settings, URLs, schedule, health, dashboard, demo and `manage.py up`."""

    name = "continuity_site"

    def ready(self) -> None:
        from continuity_site import checks  # noqa: F401  (registers them)
