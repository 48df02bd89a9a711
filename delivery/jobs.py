"""What RQ runs of delivery."""

from __future__ import annotations

from django.utils import timezone

from delivery.services import bouncing, queue_actions, retention


def bounce() -> None:
    """Tell senders of mail that was given up or is late. Two index look-ups when there is none."""
    bouncing.run(timezone.now())


def bulk_action(action_id: int) -> None:
    """Carry on what somebody asked to be done to many."""
    queue_actions.run_slice(action_id)


def bulk_sweep() -> None:
    """Carry on with what was left by a worker that died. One index look-up when there is none."""
    queue_actions.sweep(timezone.now())


def retain() -> None:
    """Delete what has been kept for its time. Once an hour, so that a day's worth goes in small parts."""
    retention.run(timezone.now())
