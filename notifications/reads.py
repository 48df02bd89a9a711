"""Read-only questions for pages and other apps. Each takes a constant number of queries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch

from accounts.models import Contact
from notifications.models import Attempt, ContactPoint, Notification, Suspension


def latest_alerts(account_id: int, limit: int = 10) -> list[Notification]:
    """The latest notifications of an account, newest first, each with its contact and attempts."""
    attempts = Prefetch("attempts", Attempt.objects.order_by("pk"))
    latest = Notification.objects.filter(account=account_id).order_by("-created_at", "-pk")
    return list(latest.select_related("contact").prefetch_related(attempts)[:limit])


def attempts_of(notification_id: int) -> list[Attempt]:
    """Every attempt for a notification, first one first, with its contact point."""
    return list(Attempt.objects.filter(notification=notification_id).select_related("point").order_by("pk"))


@dataclass(frozen=True)
class Reachability:
    """Whether an alert would reach a contact now: by these points, in this order."""

    contact: Contact
    usable: tuple[ContactPoint, ...]
    unverified: tuple[ContactPoint, ...]
    disabled: tuple[ContactPoint, ...]

    @property
    def reachable(self) -> bool:
        return bool(self.usable) and self.contact.active


def reachability(account_id: int) -> list[Reachability]:
    """Every contact of an account by name, with their points."""
    points: dict[int, list[ContactPoint]] = defaultdict(list)
    for point in ContactPoint.objects.filter(contact__account=account_id).order_by("order", "pk"):
        points[point.contact_id].append(point)
    contacts = Contact.objects.filter(account=account_id).order_by("name", "pk")
    return [_reachability(contact, points[contact.pk]) for contact in contacts]


def reachability_of(contact: Contact) -> Reachability:
    """The same for one contact."""
    return _reachability(contact, list(contact.points.order_by("order", "pk")))


def _reachability(contact: Contact, points: list[ContactPoint]) -> Reachability:
    working = [point for point in points if point.disabled_at is None]
    return Reachability(
        contact,
        usable=tuple(point for point in working if point.verified_at is not None),
        unverified=tuple(point for point in working if point.verified_at is None),
        disabled=tuple(point for point in points if point.disabled_at is not None),
    )


@dataclass(frozen=True)
class Silenced:
    """Until when outage alerts are suspended: for everybody, and for single contacts beyond that."""

    everybody: datetime | None
    contacts: dict[int, datetime]


def silenced(account_id: int, now: datetime) -> Silenced:
    """What is suspended at `now`. An outage that opened after a suspension alerts all the same."""
    running = Suspension.objects.filter(account=account_id, until__gt=now)
    everybody: datetime | None = None
    contacts: dict[int, datetime] = {}
    for suspension in running.order_by("until"):
        if suspension.contact_id is None:
            everybody = suspension.until
        else:
            contacts[suspension.contact_id] = suspension.until
    return Silenced(everybody, contacts)
