"""The account lock and the audit: every decision goes through `decision()`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.audit import entry_hash
from accounts.models import Account, AuditEntry, Contact, Person, User


@dataclass(frozen=True)
class Actor:
    """Who decides, and from which address."""

    by: AuditEntry.By
    name: str
    id: int | None = None
    ip_address: str | None = None

    @classmethod
    def user(cls, user: User, ip_address: str | None = None) -> Actor:
        return cls(AuditEntry.By.USER, user.get_full_name() or user.username, user.pk, ip_address)

    @classmethod
    def contact(cls, contact: Contact, ip_address: str | None = None) -> Actor:
        return cls(AuditEntry.By.CONTACT, contact.name, contact.pk, ip_address)

    @classmethod
    def person(cls, person: Person, ip_address: str | None = None) -> Actor:
        return cls(AuditEntry.By.PERSON, person.name, person.pk, ip_address)


SCHEDULER = Actor(AuditEntry.By.SCHEDULER, "Continuity")


class AlreadyDone(Exception):  # noqa: N818  (not an error: the same request came twice)
    """The decision with this request key was made before; `entry` is its audit row."""

    def __init__(self, entry: AuditEntry) -> None:
        super().__init__(entry.action)
        self.entry = entry


class Refused(Exception):  # noqa: N818  (an answer to the user)
    """A decision that the present state does not allow; the message says why, in words for the user."""


@dataclass
class Decision:
    """The open decision of an account: `now` is its one instant, `record` writes what was decided."""

    account: Account
    actor: Actor
    now: datetime
    request_key: str | None = None
    entries: list[AuditEntry] = field(default_factory=list)

    def record(
        self,
        action: str,
        *,
        subject: str = "",
        before: str = "",
        after: str = "",
        reason: str = "",
        **details: Any,
    ) -> AuditEntry:
        """Append an audit row in the decision's transaction. `details` must be JSON-serialisable."""
        last = (
            AuditEntry.objects.filter(account=self.account).order_by("-number").only("number", "hash").first()
        )
        entry = AuditEntry(
            account=self.account,
            number=last.number + 1 if last else 1,
            at=self.now,
            by=self.actor.by,
            actor_id=self.actor.id,
            actor_name=self.actor.name[:120],
            ip_address=_plain(self.actor.ip_address),
            action=action,
            # A long name must not make a decision fail on the database that counts characters.
            subject=subject[:160],
            before=before[:160],
            after=after[:160],
            reason=reason,
            details=details,
            # The first row of a decision carries its key; the rows that follow from it do not.
            request_key=None if self.entries else self.request_key,
            previous_hash=last.hash if last else "",
        )
        entry.hash = entry_hash(entry)
        entry.save(force_insert=True)
        self.entries.append(entry)
        return entry


def _plain(address: str | None) -> str | None:
    """The address as both databases give it back, or the hash would not fit: no zone, no IPv4 in IPv6."""
    if not address:
        return None
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


@contextmanager
def decision(
    account_id: int, actor: Actor, *, request_key: str | None = None, now: datetime | None = None
) -> Iterator[Decision]:
    """Open a transaction that holds the account lock, so that decisions of one account happen one by one.

    `request_key` names the request (a form's nonce, an API idempotency key): when a decision with that
    key was made before, AlreadyDone is raised and nothing happens. Raise Refused inside to roll back.
    """
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        if request_key:
            done = AuditEntry.objects.filter(account=account, request_key=request_key).first()
            if done:
                raise AlreadyDone(done)
        yield Decision(account, actor, now or timezone.now(), request_key)
