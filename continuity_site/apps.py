from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Puts it together: settings, URLs, schedule, health, dashboard, demo and `manage.py up`."""

    name = "continuity_site"

    def ready(self) -> None:
        from continuity_site import checks  # noqa: F401  (registers them)
        from events.services import resolve_link
        from notifications.services import set_link_resolver

        set_link_resolver(resolve_link)
