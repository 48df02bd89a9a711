"""What RQ runs of accounts: a few lines each, safe to run twice."""

from __future__ import annotations

from django.utils import timezone

from accounts.people import importing


def import_people(import_id: int) -> None:
    """Read a file of people, or import what was decided. Safe to run twice: each part is claimed."""
    importing.run(import_id)


def sweep() -> None:
    """Carry on what a worker left."""
    importing.sweep(timezone.now())
