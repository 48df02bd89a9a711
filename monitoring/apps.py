from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """Notices: judges windows, opens and closes outages."""

    name = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"
