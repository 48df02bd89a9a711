"""Entry points of the queue."""

from __future__ import annotations

from django.utils import timezone

from events import services


def tick() -> None:
    """Let the clock decide: events that ran out, alerts, recovery notices, what others did."""
    services.tick(timezone.now())
