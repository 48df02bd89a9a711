"""After an event: the list opens once, follows the facts, closes when all is done, and is called to mind."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, Actor, AlreadyDone, Refused
from delivery.models import Recipient, RouteHost, RouteTest
from delivery.services import pause, resume
from events import services
from events.models import Checklist, ChecklistItem, ContinuityEvent
from events.services import calls, checklist
from notifications.bulk.models import Notice
from notifications.models import Notification
from tests.events.conftest import NIGHT, World, mail_waits, make_world

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CONSOLE = ContinuityEvent.Began.CONSOLE
OVER = NIGHT + HOUR
pytestmark = pytest.mark.django_db


def ended(world: World, began: ContinuityEvent.Began = CONSOLE) -> ContinuityEvent:
    """An event that was stopped at OVER."""
    services.activate(world.account.pk, SCHEDULER, 4, began=began, now=NIGHT)
    return services.stop(world.account.pk, SCHEDULER, now=OVER)


def states(event: ContinuityEvent) -> dict[str, str]:
    return dict(ChecklistItem.objects.filter(checklist__event=event).values_list("kind", "state"))


def still_open(event: ContinuityEvent) -> list[str]:
    rows = ChecklistItem.objects.filter(checklist__event=event, state="open").order_by("pk")
    return list(rows.values_list("kind", flat=True))


def route_test(world: World, at: datetime, result: str = "ok") -> RouteTest:
    assert world.monitor.route
    return RouteTest.objects.create(
        route=world.monitor.route,
        asked_at=at,
        asked_by="Maria",
        recipient="postmaster@example.com",
        until=at + MINUTE,
        state="done",
        result=result,
        ended_at=at,
        host_ids=list(world.monitor.route.hosts.values_list("pk", flat=True)),
    )


def notice(world: World, at: datetime, state: str = "done") -> Notice:
    return Notice.objects.create(
        account=world.account,
        subject="It is over",
        text="Use your mail as before.",
        state=state,
        made_at=at,
        made_by="Jo",
        started_at=at,
        started_by="Jo",
        ended_at=at,
    )


def test_the_end_of_an_event_opens_its_list_once_in_the_same_decision(world: World) -> None:
    event = ended(world)
    assert len(states(event)) == 6
    assert Checklist.objects.get().opened_at == OVER
    services.activate(world.account.pk, SCHEDULER, 1, began=CONSOLE, now=OVER + HOUR)
    for seconds in range(3):
        services.tick(OVER + 2 * HOUR + timedelta(seconds=seconds))
    assert Checklist.objects.count() == 2, "the second one ran out"
    opened = AuditEntry.objects.filter(action="checklist.opened").order_by("pk")
    assert [entry.by for entry in opened] == ["scheduler", "scheduler"]


def test_a_drill_has_none(world: World) -> None:
    assert states(ended(world, ContinuityEvent.Began.DRILL)) == {}


def test_each_item_follows_its_fact_and_says_who_settled_it(world: World) -> None:
    assert world.monitor.route
    RouteHost.objects.create(route=world.monitor.route, hostname="mail.example.com")
    maria = Actor.contact(world.maria)
    pause(world.account.pk, maria, now=NIGHT)
    hop = mail_waits(world, 3, NIGHT)
    hop.state = "up"
    hop.save()
    route_test(world, NIGHT)
    notice(world, NIGHT)
    services.activate(world.account.pk, maria, 4, began=CONSOLE, now=NIGHT)
    event = ContinuityEvent.objects.get()
    call = calls.log(world.account.pk, maria, name="Anna", what="No mail", event=event, now=NIGHT + MINUTE)
    services.stop(world.account.pk, maria, now=OVER)
    checklist.decide(world.account.pk, OVER)
    assert still_open(event) == ["deliveries", "route", "queue", "users", "calls"]

    resume(world.account.pk, maria, now=OVER + MINUTE)
    Recipient.objects.update(state="delivered", final_at=OVER + 2 * MINUTE)
    route_test(world, OVER + 3 * MINUTE, "warning")
    checklist.decide(world.account.pk, OVER + 3 * MINUTE)
    assert still_open(event) == ["route", "users", "calls"], "a remark is not green"

    route_test(world, OVER + 4 * MINUTE)
    notice(world, OVER + 4 * MINUTE)
    checklist.decide(world.account.pk, OVER + 5 * MINUTE)
    calls.settle(world.account.pk, Actor.contact(world.kim), call.pk, now=OVER + 6 * MINUTE)
    rows = ChecklistItem.objects.filter(checklist__event=event).order_by("pk")
    assert list(rows.values_list("state", "settled_by")) == [
        ("settled", ""),
        ("settled", "Maria"),
        ("settled", "Maria"),
        ("settled", ""),
        ("settled", "Jo"),
        ("settled", "Kim"),
    ]
    assert Checklist.objects.get().closed_at == OVER + 6 * MINUTE
    assert AuditEntry.objects.filter(action="checklist.closed").count() == 1
    assert checklist.accounts(OVER + 9 * HOUR) == []


def test_what_is_undone_is_open_again_until_all_is_through(world: World) -> None:
    event = ended(world)
    checklist.decide(world.account.pk, OVER)
    assert still_open(event) == ["users"]
    pause(world.account.pk, SCHEDULER, now=OVER + MINUTE)
    checklist.decide(world.account.pk, OVER + 2 * MINUTE)
    assert still_open(event) == ["deliveries", "users"]
    assert AuditEntry.objects.filter(action="checklist.item_undone").count() == 1
    resume(world.account.pk, SCHEDULER, now=OVER + 3 * MINUTE)
    notice(world, OVER + 3 * MINUTE)
    checklist.decide(world.account.pk, OVER + 4 * MINUTE)
    pause(world.account.pk, SCHEDULER, now=OVER + 5 * MINUTE)
    services.tick(OVER + 6 * MINUTE)
    assert still_open(event) == [], "that is another story"


def test_a_late_call_opens_a_closed_list_again(world: World) -> None:
    event = ended(world)
    notice(world, OVER)
    checklist.decide(world.account.pk, OVER + MINUTE)
    assert Checklist.objects.get().closed_at
    call = calls.log(world.account.pk, SCHEDULER, name="Ben", what="Still none", event=event)
    assert still_open(event) == ["calls"]
    calls.settle(world.account.pk, SCHEDULER, call.pk)
    assert still_open(event) == []
    calls.reopen(world.account.pk, SCHEDULER, call.pk)
    assert still_open(event) == ["calls"]
    with pytest.raises(Refused):
        calls.reopen(world.account.pk, SCHEDULER, call.pk)


def test_a_waiver_needs_a_reason_is_kept_and_can_be_taken_back(world: World) -> None:
    event = ended(world)
    checklist.decide(world.account.pk, OVER)
    jo = Actor.contact(world.jo)
    with pytest.raises(Refused, match="why"):
        checklist.waive(world.account.pk, jo, event.pk, "users", "  ")
    with pytest.raises(Refused, match="not open"):
        checklist.waive(world.account.pk, jo, event.pk, "deliveries", "because")
    checklist.waive(world.account.pk, jo, event.pk, "users", "Nobody noticed", request_key="k", now=OVER)
    with pytest.raises(AlreadyDone):
        checklist.waive(world.account.pk, jo, event.pk, "users", "Nobody noticed", request_key="k")
    item = ChecklistItem.objects.get(kind="users")
    assert (item.state, item.settled_by, item.reason) == ("waived", "Jo", "Nobody noticed")
    entry = AuditEntry.objects.get(action="checklist.item_waived")
    assert (entry.actor_name, entry.reason, entry.details["item"]) == ("Jo", "Nobody noticed", "users")
    assert Checklist.objects.get().closed_at == OVER
    checklist.take_back(world.account.pk, jo, event.pk, "users")
    assert (states(event)["users"], Checklist.objects.get().closed_at) == ("open", None)


def test_contacts_are_reminded_once_a_day_of_all_lists_together(world: World) -> None:
    def told() -> int:
        return Notification.objects.filter(kind="checklist").count()

    ended(world)
    services.activate(world.account.pk, SCHEDULER, 1, began=CONSOLE, now=OVER + HOUR)
    services.stop(world.account.pk, SCHEDULER, now=OVER + 1.5 * HOUR)
    for hours, days in (
        (23.9, 0),
        (24, 1),
        (24.1, 1),
        (47.9, 1),
        (48, 2),
        (50, 2),
        (72.5, 3),
        (96, 3),
        (96.5, 4),
    ):
        for _again in range(2):
            services.tick(OVER + hours * HOUR)
        assert told() == 3 * days, hours
    context = Notification.objects.filter(kind="checklist").earliest("pk").context
    assert context["number"] == 2
    assert context["todo"] == ["tell the users that it is over"]
    notice(world, OVER + 97 * HOUR)
    services.tick(OVER + 130 * HOUR)
    services.tick(OVER + 200 * HOUR)
    assert told() == 12


def test_another_accounts_list_and_calls_are_not_there(world: World) -> None:
    event, other = ended(world), make_world("other")
    checklist.decide(world.account.pk, OVER)
    call = calls.log(world.account.pk, SCHEDULER, name="Anna", what="?", event=event)
    with pytest.raises(Refused, match="no such"):
        checklist.waive(other.account.pk, SCHEDULER, event.pk, "users", "x")
    with pytest.raises(Refused):
        calls.settle(other.account.pk, SCHEDULER, call.pk)
    with pytest.raises(Refused):
        calls.log(other.account.pk, SCHEDULER, name="Anna", what="?", event=event)
