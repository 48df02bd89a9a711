"""What is missing before the next outage, and what it costs of 100 points. Pure; `now` is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

FULL = 100
AGAIN_AFTER = timedelta(days=90)  # a test of a route, and a drill, are due again
CERTIFICATE_SOON = timedelta(days=30)
CERTIFICATE_NOW = timedelta(days=7)
DISK_LEAST_DAYS = 4.0  # so long mail is kept for a server that is down
DISK_GOOD_DAYS = 14.0


class Gap(StrEnum):
    """What can be missing."""

    NO_CONTACT = "no contact"
    CONTACT_UNREACHED = "contact unreached"
    CONTACT_ONE_CHANNEL = "contact one channel"
    CONTACT_BROKEN = "contact broken"
    NO_PEOPLE = "no people"
    PEOPLE_UNREACHED = "people unreached"
    PEOPLE_UNVERIFIED = "people unverified"
    NO_ROUTE = "no route"
    ROUTE_UNTESTED = "route untested"
    ROUTE_FAILED = "route failed"
    CERTIFICATE_OVER = "certificate over"
    CERTIFICATE_SOON = "certificate soon"
    NO_MONITOR = "no monitor"
    THRESHOLD_HIGH = "threshold high"
    NO_DRILL = "no drill"
    DISK = "disk"


# The points that each one costs, and the most that all of its kind together do.
COSTS: dict[Gap, tuple[float, float]] = {
    Gap.NO_CONTACT: (35, 35),
    Gap.CONTACT_UNREACHED: (20, 35),
    Gap.NO_ROUTE: (25, 25),
    Gap.NO_MONITOR: (25, 25),
    Gap.ROUTE_FAILED: (15, 25),
    Gap.CERTIFICATE_OVER: (12, 20),
    Gap.DISK: (15, 15),
    Gap.ROUTE_UNTESTED: (8, 16),
    Gap.NO_DRILL: (10, 10),
    Gap.PEOPLE_UNREACHED: (10, 10),
    Gap.CERTIFICATE_SOON: (5, 10),
    Gap.CONTACT_BROKEN: (3, 9),
    Gap.CONTACT_ONE_CHANNEL: (3, 9),
    Gap.THRESHOLD_HIGH: (3, 6),
    Gap.NO_PEOPLE: (5, 5),
    Gap.PEOPLE_UNVERIFIED: (5, 5),
}


@dataclass(frozen=True)
class ContactFacts:
    """A contact who is to be alerted, as `notifications.readiness` judged them."""

    id: int
    name: str
    reached: bool
    one_channel: bool
    broken: int


@dataclass(frozen=True)
class RouteFacts:
    """A route with its last test that ended. `expires`: the first end of a certificate seen in it."""

    id: int
    name: str
    tested_at: datetime | None = None
    test_id: int | None = None
    failed: bool = False
    expires: datetime | None = None


@dataclass(frozen=True)
class MonitorFacts:
    """A monitor that watches. `highest`: its counter within the time for which windows are kept."""

    id: int
    name: str
    threshold: int
    highest: int
    opened: bool


@dataclass(frozen=True)
class Facts:
    """Everything the score is made of. `disk_days`: how long the disk takes a day's mail; None: not known."""

    contacts: Sequence[ContactFacts]
    people: int
    people_unreached: int
    people_unverified: int
    routes: Sequence[RouteFacts]
    monitors: Sequence[MonitorFacts]
    drilled_at: datetime | None
    disk_days: float | None


@dataclass(frozen=True)
class Finding:
    """One thing to do. `points`: what it costs; `id` and `name` say of which contact, route or monitor."""

    gap: Gap
    points: float
    id: int | None = None
    name: str = ""
    number: float = 0
    at: datetime | None = None


@dataclass(frozen=True)
class Score:
    """0 to 100, and what to do, what costs most first."""

    value: int
    findings: tuple[Finding, ...]


def score(facts: Facts, now: datetime) -> Score:
    """Judge an account. It is 100 only when nothing is left to do."""
    findings: list[Finding] = []
    spent: dict[Gap, float] = {}
    for gap, share, rest in _gaps(facts, now):
        each, most = COSTS[gap]
        points = min(each * share, most - spent.get(gap, 0.0))
        spent[gap] = spent.get(gap, 0.0) + points
        findings.append(Finding(gap, points, **rest))
    lost = sum(spent.values())
    value = max(0, int(FULL - lost)) if findings else FULL
    order = list(COSTS)
    findings.sort(key=lambda one: (-one.points, order.index(one.gap), one.name))
    return Score(min(value, FULL - 1) if findings else FULL, tuple(findings))


# The gap, how much of its cost it takes (0 to 1), and what else its finding says.
_Found = tuple[Gap, float, dict[str, Any]]


def _gaps(facts: Facts, now: datetime) -> Iterable[_Found]:
    yield from _contacts(facts.contacts)
    yield from _people(facts)
    if not facts.routes:
        yield Gap.NO_ROUTE, 1, {}
    for route in facts.routes:
        yield from _route(route, now)
    if not facts.monitors:
        yield Gap.NO_MONITOR, 1, {}
    for monitor in facts.monitors:
        if 0 < monitor.highest < monitor.threshold and not monitor.opened:
            rest = {"id": monitor.id, "name": monitor.name, "number": monitor.highest}
            yield Gap.THRESHOLD_HIGH, 1, rest
    if facts.drilled_at is None or now - facts.drilled_at > AGAIN_AFTER:
        yield Gap.NO_DRILL, 1, {"at": facts.drilled_at}
    if facts.disk_days is not None and facts.disk_days < DISK_GOOD_DAYS:
        share = 1.0 if facts.disk_days < DISK_LEAST_DAYS else 0.4
        yield Gap.DISK, share, {"number": round(facts.disk_days, 1)}


def _contacts(contacts: Sequence[ContactFacts]) -> Iterable[_Found]:
    if not contacts:
        yield Gap.NO_CONTACT, 1, {}
    for contact in contacts:
        whose = {"id": contact.id, "name": contact.name}
        if not contact.reached:
            yield Gap.CONTACT_UNREACHED, 1, whose
            continue
        if contact.broken:
            yield Gap.CONTACT_BROKEN, 1, whose | {"number": contact.broken}
        if contact.one_channel:
            yield Gap.CONTACT_ONE_CHANNEL, 1, whose


def _people(facts: Facts) -> Iterable[_Found]:
    if not facts.people:
        yield Gap.NO_PEOPLE, 1, {}
        return
    if facts.people_unreached:
        share = facts.people_unreached / facts.people
        yield Gap.PEOPLE_UNREACHED, share, {"number": facts.people_unreached}
    if facts.people_unverified:
        share = facts.people_unverified / facts.people
        yield Gap.PEOPLE_UNVERIFIED, share, {"number": facts.people_unverified}


def _route(route: RouteFacts, now: datetime) -> Iterable[_Found]:
    whose: dict[str, Any] = {"id": route.id, "name": route.name, "at": route.tested_at}
    if route.tested_at is None or now - route.tested_at > AGAIN_AFTER:
        yield Gap.ROUTE_UNTESTED, 1, whose
    if route.failed:
        yield Gap.ROUTE_FAILED, 1, whose
    if route.expires is not None and route.expires - now < CERTIFICATE_SOON:
        days = (route.expires - now) / timedelta(days=1)
        whose = whose | {"number": max(0, int(days)), "at": route.expires}
        soon = route.expires - now >= CERTIFICATE_NOW
        yield (Gap.CERTIFICATE_SOON if soon else Gap.CERTIFICATE_OVER), 1, whose
