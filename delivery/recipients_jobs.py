"""What RQ runs of known recipients."""

from delivery.services import recipients


def run_import(import_id: int) -> None:
    """Import a list that was confirmed. Safe to run twice: each batch is claimed."""
    recipients.run(import_id)
