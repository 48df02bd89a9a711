"""Read-only questions for pages and other apps. Each takes a constant number of queries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import OuterRef, Prefetch, Subquery

from accounts.models import Account, Contact
from notifications import rules, words
from notifications.models import Attempt, ContactPoint, Notification, Suspension
from notifications.readiness import Readiness, Way, readiness


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
    """A contact with all contact points in order, and whether an alert would reach them now."""

    contact: Contact
    points: tuple[ContactPoint, ...]
    readiness: Readiness

    @property
    def has_usable_point(self) -> bool:
        """Whether one of the points is verified and not disabled: what `usable` asks of the database."""
        return any(point.verified_at and not point.disabled_at for point in self.points)

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return words.would_be_reached(
            self.readiness, {point.pk: point for point in self.points}, self.contact
        )


def reachability(account: Account) -> list[Reachability]:
    """Every contact of an account, those who are alerted first, then by name. Two queries."""
    points = Prefetch("points", ContactPoint.objects.order_by("order", "pk"))
    contacts = Contact.objects.filter(account=account).order_by("-active", "name", "pk")
    return [_reachability(contact, account) for contact in contacts.prefetch_related(points)]


def reachability_of(contact: Contact) -> Reachability:
    """The same for one contact."""
    return _reachability(contact, contact.account)


def _reachability(contact: Contact, account: Account) -> Reachability:
    points = tuple(contact.points.all())
    ways = [
        Way(
            point.pk,
            point.channel,
            verified=point.verified_at is not None,
            disabled=point.disabled_at is not None,
            way_out=account.is_demo or has_way_out(point.channel),
        )
        for point in points
    ]
    return Reachability(contact, points, readiness(contact.active, ways))


def has_way_out(channel: str) -> bool:
    """Whether the installation has a relay or provider for the channel; an app's address is its own."""
    name = {"email": "ALERT_EMAIL_URL", "sms": "ALERT_SMS_URL"}.get(channel)
    return name is None or bool(getattr(settings, name))


def last_messages(contact: Contact) -> dict[int, Notification]:
    """The newest code or test of each of the contact's points, with its attempts."""
    newest = Notification.objects.filter(point=OuterRef("pk")).order_by("-created_at", "-pk").values("pk")[:1]
    ids = ContactPoint.objects.filter(contact=contact).annotate(newest=Subquery(newest)).values("newest")
    attempts = Prefetch("attempts", Attempt.objects.order_by("pk"))
    found = Notification.objects.filter(pk__in=ids).prefetch_related(attempts)
    return {notification.point_id: notification for notification in found if notification.point_id}


def with_a_usable_point(account_id: int) -> set[int]:
    """The contacts of an account that have a contact point which is verified and not disabled."""
    usable = ContactPoint.objects.usable().filter(contact__account=account_id)
    return set(usable.order_by().values_list("contact", flat=True))


def to_fall_through(keys: Collection[str], now: datetime) -> list[Notification]:
    """Of the notifications with these keys, which nobody has acknowledged, those for one more contact point.

    They were accepted longer ago than their contact lets pass, and the contact has another usable point.
    """
    usable = Prefetch("contact__points", ContactPoint.objects.usable(), to_attr="usable")
    sent = Notification.objects.filter(
        dedupe_key__in=keys,
        state__in=(Notification.State.SENT, Notification.State.DELIVERED),
        contact__telling=Contact.Telling.IN_ORDER,
    )
    found = []
    for one in sent.select_related("contact").prefetch_related(usable, "attempts").order_by("pk"):
        ever = [rules.Tried(tried.point_id or 0, tried.state) for tried in one.attempts.all()]
        points = [point.pk for point in one.contact.usable]  # type: ignore[attr-defined]
        wait = timedelta(minutes=one.contact.fall_through_minutes)
        if one.sent_at and rules.falls_through(points, ever, one.sent_at, wait, now):
            found.append(one)
    return found


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
