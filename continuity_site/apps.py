from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Puts it together: settings, URLs, schedule, health, dashboard, demo and `manage.py up`."""

    name = "continuity_site"
