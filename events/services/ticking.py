"""What the clock decides, every few seconds. Safe to run twice, at once, late, or not at all for a while."""

from __future__ import annotations

from datetime import datetime

from events.services import alerts, feed, mode


def tick(now: datetime) -> int:
    """Close what has run out, alert, tell the others what one did; returns how many things were decided."""
    return mode.close_run_out(now) + alerts.decide(now) + feed.tell_others(now)
