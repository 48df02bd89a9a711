"""What RQ runs of delivery."""

from __future__ import annotations

from django.utils import timezone

from delivery.services import bouncing


def bounce() -> None:
    """Tell senders of mail that was given up or is late. Two index look-ups when there is none."""
    bouncing.run(timezone.now())
