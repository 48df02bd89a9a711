"""What RQ runs of delivery."""

from __future__ import annotations

from django.utils import timezone

from delivery.services import bouncing, queue_steps, recipients, retention, sampling


def bounce() -> None:
    """Tell senders of mail that was given up, is late or was handed on. A look-up each when there is none."""
    bouncing.run(timezone.now())


def bulk_action(action_id: int) -> None:
    """Carry on what somebody asked to be done to many."""
    queue_steps.run_slice(action_id)


def housekeep() -> None:
    """Carry on with actions and imports whose worker died; each hour, delete what had its time.

    A few index look-ups when there is nothing.
    """
    now = timezone.now()
    queue_steps.sweep(now)
    recipients.sweep(now)
    if retention.is_time(now):
        retention.run(now)


def sample() -> None:
    """Write down how long each queue is, once a minute while something waits."""
    sampling.sample(timezone.now())
