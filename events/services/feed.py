"""Tells the other contacts what one of them did. It reads the audit feed, and so covers every way to act."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_noop

from accounts.models import Account, AuditEntry, Contact
from accounts.services import SCHEDULER, Decision, decision
from events import rules
from events.models import FeedCursor
from notifications import services as notifications

READER = "tell-others"

SENTENCES = {
    "event.activated": gettext_noop("{who} activated continuity mode at {at} until {until}."),
    "event.began": gettext_noop("Continuity mode began by itself at {at} and lasts until {until}."),
    "event.extended": gettext_noop("{who} extended continuity mode at {at} until {until}."),
    "event.stopped": gettext_noop("{who} ended continuity mode at {at}."),
    "notifications.suspended": gettext_noop(
        "{who} suspended notifications for everyone at {at} until {until}."
    ),
    "pause.started": gettext_noop("{who} paused inbound deliveries at {at}."),
    "pause.ended": gettext_noop("{who} resumed inbound deliveries at {at}."),
}
"""Filled in while sending: in the reader's language, with times in the reader's zone."""

_PEOPLE = (AuditEntry.By.USER, AuditEntry.By.CONTACT, AuditEntry.By.API)


def accounts_behind(reader: str = READER) -> list[int]:
    """Accounts whose feed has rows that this reader has not dealt with. Index look-ups only."""
    cursor = FeedCursor.objects.filter(account=OuterRef("account"), reader=reader).values("number")
    new = AuditEntry.objects.filter(account=OuterRef("pk"), number__gt=Coalesce(Subquery(cursor), 0))
    return list(Account.objects.filter(Exists(new)).order_by("pk").values_list("pk", flat=True))


def tell_others(account_id: int, now: datetime) -> int:
    """Decide an `action` notification for each new action and each other active contact."""
    told = 0
    with decision(account_id, SCHEDULER, now=now) as decided:
        cursor, _made = FeedCursor.objects.get_or_create(account_id=account_id, reader=READER)
        new = AuditEntry.objects.filter(account_id=account_id, number__gt=cursor.number)
        last = new.aggregate(last=Max("number"))["last"]
        if last is None:
            return 0
        recent = Q(at__gt=now - rules.TOLD_LATE, action__in=SENTENCES)
        # Of the clock's decisions only this one: nobody else would say that the mode is on.
        recent &= Q(by__in=_PEOPLE) | Q(action="event.began")
        actions = [entry for entry in new.filter(recent).order_by("number") if _concerns_all(entry)]
        if actions:
            contacts = list(Contact.objects.filter(account_id=account_id, active=True).order_by("pk"))
            told = sum(_tell_about(entry, contacts, decided) for entry in actions)
        cursor.number = last
        cursor.save(update_fields=["number"])
    return told


def _concerns_all(entry: AuditEntry) -> bool:
    """Whoever silences only himself concerns nobody else; an event for groups is not the account's mode."""
    if entry.action.startswith("event.") and entry.details.get("scope"):
        return False
    return entry.action != "notifications.suspended" or not entry.details.get("contact")


def _tell_about(entry: AuditEntry, contacts: list[Contact], decided: Decision) -> int:
    context = {
        "account": decided.account.name,
        "what": SENTENCES[entry.action],  # translated for each reader while it is written
        "who": entry.actor_name,
        "action": entry.action,
        "at": entry.at.isoformat(),
        "until": entry.details.get("until"),
    }
    told = 0
    for contact in contacts:
        if _is_actor(contact, entry):
            continue
        key = f"action:{entry.pk}:contact:{contact.pk}"
        told += notifications.notify(decided, contact, "action", context, key) is not None
    return told


def _is_actor(contact: Contact, entry: AuditEntry) -> bool:
    if entry.by == AuditEntry.By.CONTACT:
        return contact.pk == entry.actor_id
    return (
        entry.by == AuditEntry.By.USER and contact.user_id is not None and contact.user_id == entry.actor_id
    )
