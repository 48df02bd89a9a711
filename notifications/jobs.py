"""RQ entry points. Safe to run twice: rows are claimed."""

from django.utils import timezone

from notifications import services


def send(notification_id: int) -> None:
    """Send one notification that was just decided."""
    services.send(notification_id)


def sweep() -> int:
    """Send what is due and what a crash left behind."""
    return services.send_due(timezone.now())
