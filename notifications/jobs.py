"""RQ entry points. Safe to run twice: rows are claimed."""

from django.utils import timezone

from notifications import services
from notifications.bulk import sending as notices
from notifications.people import sending as codes


def send(notification_id: int) -> None:
    """Send one notification that was just decided."""
    services.send(notification_id)


def sweep() -> int:
    """Send what is due and what a crash left behind."""
    now = timezone.now()
    codes.sweep(now)
    return services.send_due(now)


def send_code(code_id: int) -> None:
    """Send a code that a person asked for on their own page."""
    codes.send(code_id, timezone.now())


def send_notice(notice_id: int) -> None:
    """Carry on with a bulk notice for a few seconds."""
    notices.send_slice(notice_id)


def sweep_notices() -> int:
    """Carry on with bulk notices that nobody works at."""
    return notices.sweep(timezone.now())
