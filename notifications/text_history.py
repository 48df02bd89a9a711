"""What was changed in an account's texts, from the audit: the words of before can be read again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.models import AuditEntry
from notifications.models import MessageTemplate

SHOWN = 5


@dataclass(frozen=True)
class Change:
    """One decision. `before` is by part what it said; None is the shipped text."""

    action: str
    actor_name: str
    at: datetime
    before: list[tuple[str, str | None]]


def changes(account_id: int, kind: str, language: str) -> list[Change]:
    """The latest changes of a kind in a language, newest first."""
    entries = AuditEntry.objects.filter(account=account_id, subject=f"text:{kind}:{language}")
    labels = dict(MessageTemplate.Part.choices)
    return [
        Change(
            entry.action,
            entry.actor_name,
            entry.at,
            [(str(labels[part]), words[0]) for part, words in entry.details["texts"].items()],
        )
        for entry in entries.order_by("-number")[:SHOWN]
    ]
