"""What is held back: contact points kept from use by a limit, or by a provider that asked for a pause."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from notifications import rules
from notifications.models import Attempt, ContactPoint, Notification

# What may have cost something and rung somewhere: a refusal has not, so that a provider that comes back finds
# the limits unspent.
COUNTED = Q(receipt_at__isnull=False) | Q(
    state__in=(Attempt.State.SENDING, Attempt.State.SENT, Attempt.State.DELIVERED, Attempt.State.UNKNOWN)
)


@dataclass(frozen=True)
class Held:
    """Not before `until`, for this reason."""

    until: datetime
    reason: str


def held_back(notification: Notification, points: Collection[ContactPoint], now: datetime) -> dict[int, Held]:
    """Those of `points` that must not be used for a notification at `now`, by primary key.

    Senders at the same moment do not see each other: a limit is passed by as many as work at once, at most.
    """
    if notification.account.is_demo:
        return {}
    held = _asked_to_wait(points, now)
    for channel in {point.channel for point in points}:
        reached = _limit_reached(notification, channel, now)
        if reached:
            held |= {point.pk: reached for point in points if point.channel == channel}
    return held


def _asked_to_wait(points: Collection[ContactPoint], now: datetime) -> dict[int, Held]:
    """SMS go through one provider, so that its pause holds for all; an app's service speaks for itself."""
    pauses = Attempt.objects.filter(retry_at__gt=now)
    own = Q(point__in=[point.pk for point in points]) | Q(channel=ContactPoint.Channel.SMS)
    held = {}
    for channel, point_id, until in pauses.filter(own).values_list("channel", "point", "retry_at"):
        if until is None:
            continue
        reason = _("The provider asked to wait until %s.") % _time(until)
        for point in points:
            shared = channel == point.channel == ContactPoint.Channel.SMS
            if point.pk == point_id or shared:
                held[point.pk] = Held(until, reason)
    return held


def _limit_reached(notification: Notification, channel: str, now: datetime) -> Held | None:
    limits = [one for one in rules.LIMITS if one.channel == channel and one.kind in {"", notification.kind}]
    if not limits:
        return None
    counts = {
        f"limit{place}": Count("pk", filter=_within(limit, notification, now))
        for place, limit in enumerate(limits)
    }
    longest = max(limit.within for limit in limits)
    lately = Attempt.objects.filter(COUNTED, channel=channel, started_at__gt=now - longest)
    used = lately.filter(notification__account__is_demo=False).aggregate(**counts)
    reached = [limit for place, limit in enumerate(limits) if used[f"limit{place}"] >= limit.most]
    frees = [_free_at(limit, notification, now) for limit in reached]
    return max(frees, key=lambda one: one.until, default=None)


def _free_at(limit: rules.Limit, notification: Notification, now: datetime) -> Held:
    """When the oldest of the latest `most` attempts has left the span."""
    attempts = Attempt.objects.filter(COUNTED, _within(limit, notification, now), channel=limit.channel)
    latest = attempts.filter(notification__account__is_demo=False).order_by("-started_at")
    started = latest.values_list("started_at", flat=True)[limit.most - 1 : limit.most].first()
    until = (started or now) + limit.within
    facts = {"limit": limit_words(limit), "until": _time(until)}
    return Held(until, _("The limit of %(limit)s is reached until %(until)s.") % facts)


def _within(limit: rules.Limit, notification: Notification, now: datetime) -> Q:
    span = Q(started_at__gt=now - limit.within)
    if limit.kind:
        span &= Q(notification__kind=limit.kind)
    if limit.per == "contact":
        return span & Q(notification__contact=notification.contact_id)
    if limit.per == "account":
        return span & Q(notification__account=notification.account_id)
    return span


def limit_words(limit: rules.Limit) -> str:
    """A limit in words: 12 SMS per contact within 1 h."""
    whom = {
        "contact": _("per contact"),
        "account": _("for the account"),
        "installation": _("for the installation"),
    }[limit.per]
    facts = {
        "most": limit.most,
        "channel": ContactPoint.Channel(limit.channel).label,
        "whom": whom,
        "hours": round(limit.within.total_seconds() / 3600),
    }
    return _("%(most)d %(channel)s %(whom)s within %(hours)d h") % facts


def _time(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "H:i T")
