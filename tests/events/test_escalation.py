"""Whose turn it is: steps of contacts, points of a contact, and what “I have seen this” stops."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import AuditEntry, Contact
from accounts.services import Actor, AlreadyDone, Refused
from events import rules, services
from events.models import AlertSettings, ContinuityEvent, EscalationStep
from notifications import services as notifications
from notifications.models import ContactPoint, Notification
from tests.events.conftest import NIGHT, World, make_world
from tests.events.test_alerts import HOUR, MINUTE, told
from tests.events.test_mode import at_once


def point(contact: Contact, order: int = 1, **fields: object) -> ContactPoint:
    values: dict[str, object] = {"channel": "sms", "address": f"+49151234567{contact.pk:02}{order}"}
    values |= {"order": order, "verified_at": NIGHT} | fields
    return ContactPoint.objects.create(contact=contact, **values)


@pytest.fixture
def ladder(world: World) -> World:
    """Maria at once, Jo after ten minutes, Kim after twenty; each can be reached."""
    world.monitor.contacts.add(world.kim)
    for step, contact in ((1, world.maria), (2, world.jo), (3, world.kim)):
        point(contact)
        if step > 1:
            EscalationStep.objects.create(monitor=world.monitor, contact=contact, step=step)
    return world


def until(end: datetime, start: datetime = NIGHT) -> None:
    while start <= end:
        services.tick(start)
        start += 10 * MINUTE


def test_the_next_step_is_told_when_nobody_has_seen_it(ladder: World) -> None:
    ladder.fails(NIGHT)
    until(NIGHT + 70 * MINUTE)
    assert told(ladder.maria) == [NIGHT, NIGHT + HOUR]
    assert told(ladder.jo) == [NIGHT + 10 * MINUTE, NIGHT + 70 * MINUTE]
    assert told(ladder.kim) == [NIGHT + 20 * MINUTE]
    rows = AuditEntry.objects.filter(action="alert.escalated").order_by("number")
    assert [row.details["names"] for row in rows] == [["Jo"], ["Kim"]]
    assert Notification.objects.get(contact=ladder.kim).kind == "outage"


def test_having_seen_it_stops_the_steps_that_have_not_come(ladder: World) -> None:
    ladder.fails(NIGHT)
    until(NIGHT + 12 * MINUTE)
    services.acknowledge(ladder.account.pk, Actor.contact(ladder.jo), now=NIGHT + 13 * MINUTE)
    until(NIGHT + 3 * HOUR, NIGHT + 20 * MINUTE)
    assert told(ladder.kim) == []
    assert len(told(ladder.maria)) == 4, "whoever was alerted is reminded until somebody suspends that"
    later = Notification.objects.filter(contact=ladder.maria).latest("pk")
    assert (later.context["seen_by"], later.context["seen_at"]) == ("Jo", (NIGHT + 13 * MINUTE).isoformat())
    assert "seen_by" not in Notification.objects.filter(contact=ladder.jo).earliest("pk").context
    assert told(ladder.kim, "action") == [], "it stands in the portal and the next alerts"


def test_any_action_says_that_it_was_seen_and_an_opened_link_does_not(ladder: World) -> None:
    ladder.fails(NIGHT)
    services.tick(NIGHT)
    alert = Notification.objects.get(contact=ladder.maria)
    assert services.resolve_link(alert, NIGHT).startswith("http")
    services.tick(NIGHT + 10 * MINUTE)
    assert told(ladder.jo) == [NIGHT + 10 * MINUTE]
    link = Actor.contact(ladder.maria)
    services.activate(ladder.account.pk, link, 1, began=ContinuityEvent.Began.LINK, now=NIGHT + 11 * MINUTE)
    until(NIGHT + 30 * MINUTE, NIGHT + 20 * MINUTE)
    assert told(ladder.kim) == []


def test_a_new_outage_has_to_be_seen_by_itself(ladder: World) -> None:
    first = ladder.fails(NIGHT)
    services.tick(NIGHT)
    services.acknowledge(ladder.account.pk, Actor.contact(ladder.maria), now=NIGHT)
    first.closed_at = NIGHT + MINUTE
    first.save()
    with pytest.raises(Refused, match="no outage"):
        services.acknowledge(ladder.account.pk, Actor.contact(ladder.maria), now=NIGHT + 2 * MINUTE)
    ladder.fails(NIGHT + HOUR)
    until(NIGHT + HOUR + 11 * MINUTE, NIGHT + HOUR)
    assert told(ladder.jo) == [NIGHT + HOUR + 10 * MINUTE]


def test_a_step_at_which_nobody_can_be_reached_is_not_waited_for(ladder: World) -> None:
    ContactPoint.objects.filter(contact=ladder.maria).update(disabled_at=NIGHT)
    ladder.fails(NIGHT)
    until(NIGHT + 12 * MINUTE)
    assert told(ladder.jo) == [NIGHT]
    assert told(ladder.kim) == [NIGHT + 10 * MINUTE]
    assert told(ladder.maria) == [NIGHT], "the attempt is made and shows why it fails"


def test_a_point_that_fails_for_good_hands_on_to_the_next_step_at_once(ladder: World) -> None:
    ladder.fails(NIGHT)
    services.tick(NIGHT)
    ContactPoint.objects.filter(contact=ladder.maria).update(disabled_at=NIGHT)
    services.tick(NIGHT + MINUTE)
    assert told(ladder.jo) == [NIGHT + MINUTE]


def test_a_worker_away_for_hours_tells_each_step_once(ladder: World) -> None:
    AlertSettings.objects.create(account=ladder.account, step_minutes=30)
    ladder.fails(NIGHT)
    back = NIGHT + 5 * HOUR
    services.tick(back)
    services.tick(back)
    assert [told(contact) for contact in (ladder.maria, ladder.jo, ladder.kim)] == [[back]] * 3


@pytest.mark.django_db(transaction=True)
def test_ticks_at_once_and_a_hand_that_rises_meanwhile_escalate_once() -> None:
    world = make_world()
    point(world.maria)
    EscalationStep.objects.create(monitor=world.monitor, contact=world.jo, step=2)
    world.fails(NIGHT)
    services.tick(NIGHT)
    at_once([lambda: services.tick(NIGHT + 10 * MINUTE)] * 4)
    assert told(world.jo) == [NIGHT + 10 * MINUTE]
    assert AuditEntry.objects.filter(action="alert.escalated").count() == 1


def test_a_press_counts_once(ladder: World) -> None:
    ladder.fails(NIGHT)
    actor = Actor.contact(ladder.maria)
    services.acknowledge(ladder.account.pk, actor, request_key="nonce", now=NIGHT)
    with pytest.raises(AlreadyDone):
        services.acknowledge(ladder.account.pk, actor, request_key="nonce", now=NIGHT)


# --- One contact's points ----------------------------------------------------------------------------


@pytest.fixture
def inbox(ladder: World, settings: Settings) -> World:
    """Everything is sent, into the demo inbox. Maria has an SMS, then a mail, then another mail."""
    ladder.account.is_demo = True
    ladder.account.save()
    point(ladder.maria, 2, channel="email", address="maria@one.example")
    point(ladder.maria, 3, channel="email", address="maria@two.example")
    return ladder


def sent_to(contact: Contact) -> list[tuple[int, str]]:
    """When (in minutes) what went where."""
    attempts = contact.notifications.filter(kind__in=("outage", "reminder")).values_list(
        "attempts__started_at", "attempts__point__channel", "attempts__point__order"
    )
    return sorted(((at - NIGHT) // MINUTE, f"{channel} {order}") for at, channel, order in attempts)


def worked(*minutes: int) -> None:
    """A tick and a sweep at these minutes."""
    for minute in minutes:
        services.tick(NIGHT + minute * MINUTE)
        notifications.send_due(NIGHT + minute * MINUTE)


def test_what_nobody_has_seen_goes_to_the_next_point_and_then_to_the_next(inbox: World) -> None:
    inbox.fails(NIGHT)
    worked(0, 4, 6, 10, 12, 18)
    # A sweep's clock runs on a little, so that the wait is over with the tick of the next minute.
    assert sent_to(inbox.maria) == [(0, "sms 1"), (6, "email 2"), (12, "email 3")]
    assert Notification.objects.filter(contact=inbox.maria).count() == 1, "one notification for its slot"
    assert AuditEntry.objects.filter(action="alert.fell_through").count() == 2
    alert = Notification.objects.get(contact=inbox.maria)
    assert (alert.state, alert.points_wanted) == ("sent", 3)


def test_seen_in_time_it_goes_no_further(inbox: World) -> None:
    inbox.fails(NIGHT)
    services.tick(NIGHT)
    notifications.send_due(NIGHT)
    services.acknowledge(inbox.account.pk, Actor.contact(inbox.maria), now=NIGHT + MINUTE)
    worked(6, 60, 66)
    assert sent_to(inbox.maria) == [(0, "sms 1"), (60, "sms 1")]


def test_all_at_once_uses_every_point_at_once(inbox: World) -> None:
    Contact.objects.filter(pk=inbox.maria.pk).update(telling=Contact.Telling.AT_ONCE)
    inbox.fails(NIGHT)
    worked(0, 6)
    assert sent_to(inbox.maria) == [(0, "email 2"), (0, "email 3"), (0, "sms 1")]
    assert Notification.objects.get(contact=inbox.maria).state == "sent"


def test_nothing_falls_through_twice_when_two_ticks_meet(inbox: World) -> None:
    inbox.fails(NIGHT)
    services.tick(NIGHT)
    notifications.send_due(NIGHT)
    for _ in range(3):
        services.tick(NIGHT + 6 * MINUTE)
    notifications.send_due(NIGHT + 6 * MINUTE)
    services.tick(NIGHT + 7 * MINUTE)
    assert sent_to(inbox.maria) == [(0, "sms 1"), (6, "email 2")]


def test_a_tick_with_nothing_to_do_asks_the_same_however_many_contacts_there_are(
    inbox: World, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        contact = Contact.objects.create(account=inbox.account, name=f"Zoe {number}")
        inbox.monitor.contacts.add(contact)
        EscalationStep.objects.create(monitor=inbox.monitor, contact=contact, step=5)
        point(contact)
    inbox.fails(NIGHT)
    services.tick(NIGHT)
    with django_assert_max_num_queries(35):
        services.tick(NIGHT + MINUTE)


# --- The rules ---------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.sets(st.integers(1, 5)), st.booleans())
def test_the_first_step_that_can_be_reached_is_told_at_once(step: int, steps: set[int], seen: bool) -> None:
    ranked = rules.rank(step, steps)
    assert 1 <= ranked <= step
    at = rules.told_from(NIGHT, ranked, timedelta(minutes=7), seen)
    if step <= min(steps, default=5):
        assert at == NIGHT
    elif seen:
        assert at is None
    else:
        assert at == NIGHT + (ranked - 1) * timedelta(minutes=7)
