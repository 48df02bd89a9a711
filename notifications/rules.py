"""Pure rules: how suspensions add up, which contact point is next, when to try again, when it is too late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

SUSPENSION_HOURS = (1, 2, 4, 8, 24)

# An hourly alert is replaced by the next one after an hour; the other kinds stay true for longer.
STALE_AFTER = {"outage": timedelta(minutes=60), "reminder": timedelta(minutes=60)}
STALE_AFTER_OTHERWISE = timedelta(hours=24)

# Waits after rounds in which every contact point failed for now; the last one is repeated.
BACKOFF = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 300, 600, 900))

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Limit:
    """At most so many attempts over a channel within a span, for one contact, account or the installation.

    With a `kind` it counts, and holds back, notifications of that kind only.
    """

    channel: str
    per: Literal["contact", "account", "installation"]
    most: int
    within: timedelta
    kind: str = ""


# Whatever goes wrong, 28,000 SMS are impossible. What is over a limit is held back, or goes another way.
LIMITS = (
    Limit("sms", "contact", 12, HOUR),
    Limit("sms", "contact", 6, HOUR, kind="action"),  # what the others did must not eat up the alerts
    Limit("sms", "account", 120, HOUR),
    Limit("sms", "account", 1000, DAY),
    Limit("sms", "installation", 600, HOUR),
    Limit("sms", "installation", 5000, DAY),
    Limit("email", "contact", 60, HOUR),
    Limit("email", "account", 2000, HOUR),
    Limit("app", "contact", 60, HOUR),
)

# A provider that asks for a longer wait is asked again all the same: an alert must not sleep for a day.
LONGEST_RETRY_AFTER = timedelta(minutes=15)

# A claim without a sign of life for so long was left by a crash. Each attempt renews the claim, and no
# transport takes longer than 75 s over one, whatever the provider does.
STUCK_AFTER = timedelta(seconds=120)


def silenced_until(untils: Sequence[datetime], now: datetime) -> datetime:
    """The end of what silences at `now`, given the ends of the suspensions that count, or `now`."""
    return max((until for until in untils if until > now), default=now)


def suspension_end(untils: Sequence[datetime], hours: int, now: datetime) -> datetime:
    """The new end when somebody suspends for `hours`: they are added to what remains.

    `untils` are the ends of the suspensions that silence the same audience: everybody's for everybody,
    everybody's and one's own for "just me".
    """
    return silenced_until(untils, now) + timedelta(hours=hours)


def retry_at(retry_after: float | None, now: datetime) -> datetime | None:
    """Until when a provider that asked for `retry_after` seconds is left alone, or None."""
    return now + min(timedelta(seconds=retry_after), LONGEST_RETRY_AFTER) if retry_after else None


def stale_at(kind: str, created_at: datetime, minutes: float | None = None) -> datetime:
    """When a notification is too old to be worth sending. `minutes` overrides the kind's default."""
    if minutes is not None:
        return created_at + timedelta(minutes=minutes)
    return created_at + STALE_AFTER.get(kind, STALE_AFTER_OTHERWISE)


def next_try(rounds: int, stale: datetime, now: datetime) -> datetime:
    """When to try again after `rounds` (1 or more) rounds in which everything failed for now.

    Never after `stale`, so that a notification that nobody took is given up on time.
    """
    return min(now + BACKOFF[min(rounds, len(BACKOFF)) - 1], max(stale, now))


# No wait between two tries is longer, so that a wait that a wrong clock made is known by its length.
LONGEST_WAIT = timedelta(hours=1)


def held_until(until: datetime, stale: datetime, now: datetime) -> datetime:
    """When to look again at a notification that is held back until then."""
    return min(until, now + LONGEST_WAIT, max(stale, now))


@dataclass(frozen=True)
class Tried:
    """An attempt already made. `unknown` means it may have arrived: a crash, or an answer that never came."""

    point: int
    state: str
    repeat: bool = False


@dataclass(frozen=True)
class Use:
    """Send through this contact point; `repeat` is said in the text."""

    point: int
    repeat: bool = False


@dataclass(frozen=True)
class Wait:
    """Everything failed for now."""


@dataclass(frozen=True)
class Enough:
    """As many contact points have it as should."""


@dataclass(frozen=True)
class GiveUp:
    """Nothing is left that could be tried."""

    reason: str


NO_POINT = "no point"
ALL_REFUSED = "all refused"
PERHAPS_ARRIVED = "perhaps arrived"


ALL_POINTS = 100
"""So many contact points are wanted when all are used at once: more than anybody has."""

ACCEPTED = frozenset({"sent", "delivered"})
"""The states of an attempt whose provider took the message, or delivered it."""


def falls_through(
    points: Sequence[int], ever: Sequence[Tried], accepted_at: datetime, wait: timedelta, now: datetime
) -> bool:
    """Whether what nobody has acknowledged goes to one more contact point: `wait` after the last took it."""
    have_it = {tried.point for tried in ever if tried.state in ACCEPTED}
    return accepted_at + wait <= now and any(point not in have_it for point in points)


def next_step(
    points: Sequence[int], ever: Sequence[Tried], this_round: Sequence[Tried], wanted: int = 1
) -> Use | Wait | Enough | GiveUp:
    """What to do with a notification until `wanted` contact points have accepted it.

    One accepted attempt is enough for it to count as sent: when the other points refuse, it stays so.
    `points` are the usable contact points in order, `ever` all attempts so far and `this_round` those of
    the present round. Each point is used once a round, in order. One whose attempt ended unknown is left
    out, for it may have arrived; only when nothing else is left is one such attempt repeated. A repeat
    that was refused for now may be tried again later, one that may have arrived never.
    """
    accepted = {tried.point for tried in ever if tried.state in ACCEPTED}
    if len(accepted) >= wanted:
        return Enough()
    points = [point for point in points if point not in accepted]
    unknown = {tried.point for tried in ever if tried.state == "unknown"}
    used = {tried.point for tried in this_round}
    for point in points:
        if point not in used and point not in unknown:
            return Use(point)
    if not accepted and not any(tried.repeat and tried.state == "unknown" for tried in ever):
        repeated = {tried.point for tried in this_round if tried.repeat}
        for point in points:
            if point in unknown and point not in repeated:
                return Use(point, repeat=True)
    if any(tried.state == "temporary" and tried.point in points for tried in this_round):
        return Wait()
    if accepted:
        return Enough()
    if unknown:
        return GiveUp(PERHAPS_ARRIVED)
    return GiveUp(ALL_REFUSED if ever else NO_POINT)
