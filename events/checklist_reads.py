"""How the matters of a checklist are just now. Writes nothing; a constant number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q
from django_stubs_ext import StrOrPromise

from delivery.models import Pause, Recipient, Route, RouteTest
from delivery.reads import balance
from events.books import span
from events.checklist_rules import Fact, moved, route_green
from events.models import Checklist, ChecklistItem, ContinuityEvent, EventQuerySet, SupportCall
from notifications.bulk.models import Notice, NoticeRecipient

Kind = ChecklistItem.Kind
MANY = 10_000
"""Mail that waits is counted up to here."""


@dataclass(frozen=True)
class Shown:
    """An item as it is at this moment: what is written down, and how its matter is."""

    item: ChecklistItem
    fact: Fact

    @property
    def kind(self) -> str:
        return self.item.kind

    @property
    def state(self) -> str:
        return moved(self.item.state, self.fact.done)

    @property
    def word(self) -> str:
        return str(ChecklistItem.State(self.state).label)

    @property
    def colour(self) -> str:
        """The state class: amber needs watching."""
        return {"open": "amber", "settled": "green"}.get(self.state, "grey")

    @property
    def by(self) -> str:
        """Who settled it: as written down, or as it will be within a moment."""
        return self.item.settled_by if self.item.settled_at else self.fact.by

    @property
    def at(self) -> datetime | None:
        return self.item.settled_at or self.fact.at


def shown(checklist: Checklist, now: datetime) -> list[Shown]:
    """All items in their order."""
    items = {item.kind: item for item in checklist.items.all()}
    found = facts(checklist, items.values(), now)
    return [Shown(items[kind], found[kind]) for kind in Kind if kind in items]


def facts(checklist: Checklist, items: Iterable[ChecklistItem], now: datetime) -> dict[str, Fact]:
    """The fact of each item. A queue that was through once is not counted again: that is over for good."""
    event = checklist.event
    ended = event.ended_at or event.ends_at
    drained = any(item.kind == Kind.QUEUE and item.state == item.State.SETTLED for item in items)
    return {
        Kind.DEFINITIONS: _definitions(event, ended, now),
        Kind.DELIVERIES: _deliveries(event.account_id, ended),
        Kind.ROUTE: _route(event.account_id, ended, now),
        Kind.QUEUE: Fact(True) if drained else _queue(event, now),
        Kind.USERS: _users(event.account_id, ended),
        Kind.CALLS: calls(event.pk),
    }


def definitions(account_id: int, now: datetime) -> EventQuerySet:
    """Events that hold mail clients in continuity mode, or will: those scheduled or active.

    Events have no client policy yet; each counts as if it were on.
    """
    scheduled = Q(state=ContinuityEvent.State.SCHEDULED)
    active = Q(state=ContinuityEvent.State.ACTIVE, ends_at__gt=now)
    return ContinuityEvent.objects.filter(scheduled | active, account=account_id).order_by("starts_at")


def _definitions(event: ContinuityEvent, ended: datetime, now: datetime) -> Fact:
    left = list(definitions(event.account_id, now).exclude(pk=event.pk)[:20])
    if left:
        return Fact(False, details={"events": left})
    others = ContinuityEvent.objects.filter(account=event.account_id, ended_at__gt=ended).exclude(pk=event.pk)
    last = others.order_by("-ended_at").first()
    return Fact(True, last.ended_by, last.ended_at) if last else Fact(True)


def _deliveries(account_id: int, ended: datetime) -> Fact:
    pauses = Pause.objects.filter(Q(ended_at=None) | Q(ended_at__gt=ended), account=account_id)
    pause = pauses.order_by("-started_at").first()
    if pause is None:
        return Fact(True)
    return Fact(pause.ended_at is not None, pause.ended_by, pause.ended_at, {"pause": pause})


@dataclass(frozen=True)
class TestedRoute:
    """A route to a mail server, the latest test of it since the event, and whether that settles it."""

    route: Route
    test: RouteTest | None
    green: bool
    running: bool


def _route(account_id: int, ended: datetime, now: datetime) -> Fact:
    """Routes without a host lead nowhere, and cannot be tested."""
    routes = Route.objects.filter(account=account_id, kind=Route.Kind.INBOUND, hosts__isnull=False)
    found = list(routes.distinct().order_by("name").prefetch_related("hosts"))
    tests = RouteTest.objects.filter(route__in=found, asked_at__gte=ended).defer("steps").order_by("pk")
    latest = {test.route_id: test for test in tests}
    tested = [_tested(route, latest.get(route.pk), now) for route in found]
    done = all(one.green for one in tested)
    last = max(latest.values(), key=lambda test: test.pk, default=None)
    if done and last:
        return Fact(True, last.asked_by, last.ended_at, {"routes": tested})
    return Fact(done, details={"routes": tested})


def _tested(route: Route, test: RouteTest | None, now: datetime) -> TestedRoute:
    if test is None or test.state != RouteTest.State.DONE:
        running = test is not None and not test.interrupted(now)
        return TestedRoute(route, test, green=False, running=running)
    green = route_green([host.pk for host in route.hosts.all()], test.host_ids, test.result)
    return TestedRoute(route, test, green, running=False)


def _queue(event: ContinuityEvent, now: datetime) -> Fact:
    """Through: nothing of its mail waits any more, and the books balance (docs/reconciliation.md)."""
    mail = span(event, now)
    # What waits and came before its end belongs to it, however long before its start it came.
    still = Recipient.objects.waiting().filter(next_hop__route__account=event.account_id)
    waiting = still.filter(accepted_at__lt=mail.end).order_by().values("pk")[:MANY].count()
    if mail.draining or waiting:
        return Fact(False, details={"waiting": waiting, "many": waiting == MANY, "draining": mail.draining})
    balanced = balance(mail.scope(event.account_id)).balanced
    return Fact(balanced, at=mail.end if balanced else None, details={"balanced": balanced})


def _users(account_id: int, ended: datetime) -> Fact:
    """A notice that was started after the end has been sent; drafts written since are offered."""
    since = Q(started_at__gte=ended) | Q(state=Notice.State.DRAFT, made_at__gte=ended)
    notices = list(Notice.objects.filter(since, account=account_id).order_by("-pk")[:20])
    order = (Notice.State.DONE, Notice.State.RUNNING, Notice.State.PAUSED, Notice.State.DRAFT)
    best = min(
        (one for one in notices if one.state in order), key=lambda one: order.index(one.state), default=None
    )
    if best is None:
        return Fact(False)
    if best.state != Notice.State.DONE:
        return Fact(False, details={"notice": best})
    copy = NoticeRecipient.State
    failed = Q(state__in=(copy.FAILED, copy.UNKNOWN, copy.UNREACHABLE))
    counts = NoticeRecipient.objects.filter(notice=best).aggregate(
        sent=Count("pk", filter=Q(state=copy.SENT)), failed=Count("pk", filter=failed)
    )
    return Fact(True, best.started_by, best.ended_at, {"notice": best, **counts})


def calls(event_id: int) -> Fact:
    """The calls of an event: settled when none is open."""
    rows = SupportCall.objects.filter(event=event_id)
    counts = rows.aggregate(total=Count("pk"), open=Count("pk", filter=Q(settled_at=None)))
    if counts["open"] or not counts["total"]:
        return Fact(not counts["open"], details=counts)
    by, at = rows.order_by("-settled_at").values_list("settled_by", "settled_at")[0]
    return Fact(True, by, at, counts)


@dataclass(frozen=True)
class Left:
    """An open checklist: which event's, and the names of its open items."""

    event_id: int
    title: str
    items: list[StrOrPromise]


def left(account_id: int) -> list[Left]:
    """Open checklists with what was written down last as open in them, the newest first; one query."""
    rows = ChecklistItem.objects.filter(
        checklist__account=account_id, checklist__closed_at=None, state=ChecklistItem.State.OPEN
    ).order_by("-checklist", "pk")
    found: dict[int, Left] = {}
    for event_id, title, kind in rows.values_list("checklist__event", "checklist__event__title", "kind")[
        :120
    ]:
        found.setdefault(event_id, Left(event_id, title, [])).items.append(Kind(kind).label)
    return list(found.values())
