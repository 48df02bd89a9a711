"""The demo account's alert inbox."""

from __future__ import annotations

from django.utils import timezone

from notifications.models import DemoMessage
from notifications.transports import Rendered


def send(message: Rendered) -> str:
    """Keep what would have been sent, for the demo inbox page."""
    kept = DemoMessage.objects.create(
        account_id=message.account_id,
        at=timezone.now(),
        channel=message.channel,
        to=message.to,
        subject=message.subject[:255],
        text=message.text,
        html=message.html,
    )
    return f"kept in the demo inbox as {kept.pk}"
