from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """Moves mail: the gateway takes it in, the courier hands it on, the queue holds it."""

    name = "delivery"
    default_auto_field = "django.db.models.BigAutoField"
