"""The facts of an account's readiness. A constant number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Count, Exists, Max, OuterRef, Subquery

from accounts.models import Account, Person
from continuity_site.readiness.rules import ContactFacts, Facts, MonitorFacts, RouteFacts, Score, score
from delivery.models import Message, Route, RouteTest
from delivery.reads import delivery_rates
from delivery.services.sampling import disk_free
from monitoring.models import Monitor, Outage, Window
from notifications.bulk.reads import REACHES
from notifications.readiness import Reach
from notifications.reads import Reachability, reachability

LATEST = 200  # messages whose size stands for all


def readiness(account: Account, now: datetime, contacts: Sequence[Reachability] | None = None) -> Score:
    """The account's score at `now`; `contacts` as `notifications.reads.reachability` tells them."""
    people = _people(account)
    facts = Facts(
        contacts=_contacts(reachability(account) if contacts is None else contacts),
        people=people["everybody"],
        people_unreached=people["unreached"],
        people_unverified=people["unverified"],
        routes=_routes(account),
        monitors=_monitors(account),
        drilled_at=_drilled_at(account),
        disk_days=None if account.is_demo else _disk_days(account, now),
    )
    return score(facts, now)


def _contacts(found: Sequence[Reachability]) -> list[ContactFacts]:
    return [
        ContactFacts(
            one.contact.pk,
            one.contact.name,
            one.readiness.reached,
            one.readiness.reach == Reach.ONE_CHANNEL,
            len(one.readiness.broken),
        )
        for one in found
        if one.readiness.reach != Reach.OFF
    ]


def _people(account: Account) -> dict[str, int]:
    return Person.objects.filter(account=account).aggregate(
        everybody=Count("pk"),
        unreached=Count("pk", filter=REACHES["none"]),
        unverified=Count("pk", filter=REACHES["unverified"]),
    )


def _routes(account: Account) -> list[RouteFacts]:
    done = RouteTest.objects.filter(route=OuterRef("pk"), state=RouteTest.State.DONE).order_by("-pk")
    routes = list(
        Route.objects.filter(account=account)
        .annotate(latest=Subquery(done.values("pk")[:1]))
        .order_by("name")
    )
    tests = RouteTest.objects.in_bulk([route.latest for route in routes if route.latest])
    return [_route(route, tests.get(route.latest)) for route in routes]


def _route(route: Route, test: RouteTest | None) -> RouteFacts:
    if test is None:
        return RouteFacts(route.pk, route.name)
    failed = test.result == RouteTest.Result.FAILED
    ends = [end for step in test.steps if (end := _expires(step))]
    return RouteFacts(
        route.pk, route.name, test.ended_at or test.asked_at, test.pk, failed, min(ends, default=None)
    )


def _expires(step: dict[str, Any]) -> datetime | None:
    """When the certificate ends that a step of a test saw."""
    text = (step.get("facts") or {}).get("expires")
    return datetime.fromisoformat(text) if text else None


def _monitors(account: Account) -> list[MonitorFacts]:
    highest = Window.objects.filter(monitor=OuterRef("pk"), counter__gt=0).order_by().values("monitor")
    found = Monitor.objects.watching().filter(account=account).annotate(
        highest=Subquery(highest.annotate(most=Max("counter")).values("most")),
        opened=Exists(Outage.objects.filter(monitor=OuterRef("pk"))),
    )  # fmt: skip
    rows = found.order_by("description").values_list("pk", "description", "threshold", "highest", "opened")
    return [
        MonitorFacts(pk, name, threshold, most or 0, opened) for pk, name, threshold, most, opened in rows
    ]


def _drilled_at(account: Account) -> datetime | None:
    """When the last drill ended; None for never."""
    drill = apps.all_models["events"].get("drill")
    if drill is None:  # it is yet to come
        return None
    ended = drill._default_manager.filter(account=account, ended_at__isnull=False)
    last: datetime | None = ended.aggregate(last=Max("ended_at"))["last"]
    return last


def _disk_days(account: Account, now: datetime) -> float | None:
    """How many days of mail as of the last 24 hours the disk takes; None where that cannot be known."""
    free = disk_free()
    if free is None:
        return None
    latest = Message.objects.filter(account=account).order_by("-accepted_at")
    sizes = list(latest.values_list("size", flat=True)[:LATEST])
    size = sum(sizes) / max(1, len(sizes))
    a_day = size * sum(rate.accepted for rate in delivery_rates(account.pk, now))
    if not a_day:
        return None
    left = free - int(settings.DISK_FAILED_MB) * 1_000_000
    return max(0, left) / a_day
