"""What several deciders share: telling contacts of something once, and when that was last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from accounts.models import AuditEntry, Contact
from accounts.services import Decision
from notifications import services as notifications


def last_at(account_id: int, subject: str, action: str) -> datetime | None:
    """When this was last decided."""
    rows = AuditEntry.objects.filter(account=account_id, subject=subject, action=action)
    return rows.order_by("-number").values_list("at", flat=True).first()


def tell(
    made: Decision,
    entry: AuditEntry,
    kind: str,
    facts: dict[str, Any],
    contacts: Iterable[Contact] | None = None,
) -> None:
    """These contacts, or everybody, once for each row of the audit.

    No suspension holds it back: those are for outages.
    """
    about = {"account": made.account.name} | facts
    if contacts is None:
        contacts = Contact.objects.filter(account=made.account, active=True).order_by("pk")
    for contact in contacts:
        notifications.notify(made, contact, kind, about, f"{kind}:{entry.pk}:contact:{contact.pk}")
