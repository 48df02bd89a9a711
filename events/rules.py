"""The arithmetic of continuity events and of alerts. Pure: plain values in, plain values out, `now` given.

Instants are aware datetimes; they are compared and added to, never shown, so their zone does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

HOURS = (1, 2, 4, 8, 24)
"""What the portal offers for activating, extending and suspending."""

FURTHEST_END = timedelta(days=30)
"""An event ends at most so far ahead of the instant at which its end is set."""

FURTHEST_START = timedelta(days=366)
"""An event is scheduled to begin at most so far ahead."""

AUTOMATIC_HOURS = 24
"""So long lasts what an outage activated by itself."""

ASKED_BEFORE_END = timedelta(minutes=30)
"""So long before an event runs out contacts are asked whether to extend it, while an outage lasts."""

LINK_LIFETIME = timedelta(hours=24)

TOLD_LATE = timedelta(hours=24)
"""What a contact did is not told to the others any more when it is older than this."""

PAUSE_REMINDER = timedelta(hours=12)
"""Contacts are reminded of a pause with no active event after so long, and again after so long."""

DISK_WARNING = timedelta(hours=24)
"""While deliveries are paused the contacts are warned when the disk lasts no longer than this."""


class NotADuration(ValueError):  # noqa: N818  (an answer to the user)
    """The hours asked for are not a whole number from 1 up."""


class TooFarAhead(ValueError):  # noqa: N818  (an answer to the user)
    """The end would lie more than FURTHEST_END ahead."""


class NoSuchTime(ValueError):  # noqa: N818  (an answer to the user)
    """A local time that the clocks leave out when they go forward."""


def local_instant(wall: datetime, zone: ZoneInfo, *, end: bool = False) -> tuple[datetime, bool]:
    """The instant of a wall clock's naive time in a zone, and whether that time comes twice that day.

    Of two, the first is meant for a start and the second for an end: the event covers both.
    Raises NoSuchTime for one that the clocks leave out.
    """
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
        raise NoSuchTime(wall)
    return (late if end else early), early != late


def scope_of(groups: Iterable[int]) -> str:
    """The key of a scope: empty for everyone, else the groups' numbers in order. Stable, to be compared."""
    return ",".join(str(group) for group in sorted(set(groups)))


def activated_until(now: datetime, hours: int) -> datetime:
    """The end of an event activated now for so many hours. Raises NotADuration or TooFarAhead."""
    return _later(now, hours, now)


def extended_until(ends_at: datetime, hours: int, now: datetime) -> datetime:
    """The extension is added to the end: two hours left plus one hour is three hours.

    Raises NotADuration or TooFarAhead.
    """
    return _later(ends_at, hours, now)


def _later(start: datetime, hours: int, now: datetime) -> datetime:
    if hours < 1:
        raise NotADuration(hours)
    # Compared as hours first: a timedelta of absurdly many hours overflows.
    if hours > FURTHEST_END // timedelta(hours=1) or start + timedelta(hours=hours) > now + FURTHEST_END:
        raise TooFarAhead(hours)
    return start + timedelta(hours=hours)


@dataclass(frozen=True)
class Silence:
    """A suspension of alerts, in force from `made_at` until (not including) `until`."""

    made_at: datetime
    until: datetime

    def covers(self, instant: datetime) -> bool:
        return self.made_at <= instant < self.until


def due_at(
    slot_at: datetime,
    last_at: datetime | None,
    interval: timedelta,
    silences: Collection[Silence],
    now: datetime,
) -> datetime:
    """When the next alert of a stream goes, given its regular slot and what silences it.

    A slot that falls into a silence, or that was missed and meets one in force now, moves to the later of
    the silence's end and the last alert plus the interval. The answer depends on `now` only in the second
    case, so it does not matter how often, or how late, somebody asks.
    """
    due = slot_at
    while True:
        over = [s.until for s in silences if s.covers(due) or (due <= now and s.covers(now))]
        if not over:
            return due
        due = max(over)
        if last_at is not None:
            due = max(due, last_at + interval)


def next_slot(due: datetime, interval: timedelta, now: datetime) -> datetime:
    """The first slot after `now`, counted in whole intervals from `due`: no drift, and no catching up."""
    return due + ((now - due) // interval + 1) * interval


OVER_FOR_GOOD = timedelta(minutes=30)
"""An outage closed for so long does not open again: what silenced it has nothing left to silence."""


def silence_over_at(closings: Collection[datetime | None], made_at: datetime) -> datetime | None:
    """When a suspension is over because all that it silenced is, given when those outages closed.

    None while one of them lasts. One that silences nothing counts like one whose outage had just closed.
    """
    ends = [closed for closed in closings if closed is not None]
    if len(ends) < len(closings):
        return None
    return max(ends, default=made_at) + OVER_FOR_GOOD


def alerts_in(spans: Iterable[tuple[datetime, datetime]], interval: timedelta) -> int:
    """How many alerts one contact gets of an outage that was open in these spans, if nobody silences them.

    At its opening and after each interval while it is open. The first end is told, so that a reopening is
    told at once; a later one is told when it is over for good, so that the slots go on.
    """
    count = 0
    slot: datetime | None = None
    for number, (opened, closed) in enumerate(spans):
        at = opened if slot is None or number == 1 else max(slot, opened)
        while at < closed:
            count += 1
            at = next_slot(at, interval, at)
        slot = at
    return count


ACKNOWLEDGING = frozenset(
    {
        "outage.acknowledged",
        "event.activated",
        "event.extended",
        "event.stopped",
        "notifications.suspended",
        "pause.started",
        "pause.ended",
    }
)
"""Whoever decides one of these while an outage is open has seen it. An opened link is none of them."""

STEPS = (1, 2, 3, 4, 5)
"""The steps of an escalation that a contact of a monitor can have."""


def rank(step: int, reachable_steps: Iterable[int]) -> int:
    """How many waits after the opening a step is told, plus one.

    Steps at which nobody can be reached, or nobody is, are not waited for.
    """
    return 1 + len({earlier for earlier in reachable_steps if earlier < step})


def told_from(opened_at: datetime, ranked: int, wait: timedelta, acknowledged: bool) -> datetime | None:
    """From when on a contact is told of an outage, or None: somebody has seen it before their turn came."""
    if ranked == 1:
        return opened_at
    return None if acknowledged else opened_at + (ranked - 1) * wait


EXPIRY_WARNINGS = (timedelta(hours=6), timedelta(hours=24))
"""So long before the first mail goes back to its sender the contacts are told."""

BACKLOG_LASTS = timedelta(hours=24)
"""A backlog about which was warned is another one so long after its first mail was due to go back."""


@dataclass(frozen=True)
class ExpiryWarned:
    """The last warning of an account: which one, and when the first mail was due to go back."""

    before: timedelta
    first_at: datetime


def expiry_warning(
    first_at: datetime, lifetime: timedelta, warned: ExpiryWarned | None, now: datetime
) -> timedelta | None:
    """The warning to give now of mail that goes back from `first_at` on, or None.

    Each is given once for a backlog, the latest only where several are due. Where mail waits for less than
    twice as long as a warning is ahead, that one is left out: it would come with nearly every delay.
    """
    due = [before for before in EXPIRY_WARNINGS if first_at - now <= before and lifetime >= 2 * before]
    if not due:
        return None
    if warned and now < warned.first_at + BACKLOG_LASTS and warned.before <= min(due):
        return None
    return min(due)


def silenced_until(silences: Iterable[Silence], now: datetime) -> datetime | None:
    """The end of the silence that holds now, or None."""
    return max((silence.until for silence in silences if silence.covers(now)), default=None)
