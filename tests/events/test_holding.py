"""A forgotten pause is called to mind, a disk that fills is told of, and so is the end of a long queue."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, Actor
from delivery import rules as delivery_rules
from delivery.models import NextHop, QueueSample, Recipient
from delivery.services import hops, pause, resume
from events import services
from events.models import ContinuityEvent
from events.services import draining
from notifications.models import Notification
from tests.events.conftest import NIGHT, World, mail_waits, make_world

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


def told(kind: str) -> list[str]:
    return list(Notification.objects.filter(kind=kind).order_by("pk").values_list("contact__name", flat=True))


EVERYBODY = ["Maria", "Jo", "Kim"]


def test_a_forgotten_pause_is_called_to_mind_every_twelve_hours(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    paused = pause(world.account.pk, Actor.contact(world.maria), now=NIGHT)
    for hours, times in ((11.9, 0), (12, 1), (12.1, 1), (23.9, 1), (24, 2), (36, 3)):
        services.tick(NIGHT + hours * HOUR)
        services.tick(NIGHT + hours * HOUR)
        assert told("paused") == EVERYBODY * times, hours
    first = Notification.objects.filter(kind="paused").earliest("pk")
    assert (first.context["who"], first.context["queued"]) == ("Maria", 3)
    assert first.context["since"] == paused.started_at.isoformat()
    resume(world.account.pk, SCHEDULER, now=NIGHT + 37 * HOUR)
    services.tick(NIGHT + 60 * HOUR)
    assert len(told("paused")) == 9


def test_while_an_event_is_active_nobody_has_forgotten_and_then_the_twelve_hours_begin(world: World) -> None:
    pause(world.account.pk, SCHEDULER, now=NIGHT)
    services.activate(world.account.pk, SCHEDULER, 24, began=ContinuityEvent.Began.CONSOLE, now=NIGHT + HOUR)
    for hours, times in ((13, 0), (24, 0), (25, 0), (36.9, 0), (37, 1)):
        services.tick(NIGHT + hours * HOUR)
        assert told("paused") == EVERYBODY * times, hours


def test_a_disk_that_fills_within_a_day_while_paused_is_told_once_in_twelve_hours(world: World) -> None:
    def disk(at: datetime, free_gb: float) -> None:
        free = int(settings.DISK_FAILED_MB * 1_000_000 + free_gb * 10**9)
        QueueSample.objects.create(account=world.account, at=at, queued=1, delivered=0, disk_free=free)

    disk(NIGHT + 2 * MINUTE, 32)
    disk(NIGHT + 59 * MINUTE, 31)
    services.tick(NIGHT + HOUR)
    pause(world.account.pk, SCHEDULER, now=NIGHT + HOUR)
    services.tick(NIGHT + HOUR)
    assert told("disk") == [], "31 GB at one an hour are more than a day"
    disk(NIGHT + 61 * MINUTE, 20)
    services.tick(NIGHT + 61 * MINUTE)
    services.tick(NIGHT + 62 * MINUTE)
    assert told("disk") == EVERYBODY
    assert AuditEntry.objects.filter(action="disk.warned").count() == 1


def outage_and_drain(world: World, messages: int = 5, end: datetime = NIGHT + 2 * HOUR) -> NextHop:
    """Down at NIGHT, back an hour later, through at `end`, as the courier writes it."""
    hop = mail_waits(world, messages, NIGHT + MINUTE)
    NextHop.objects.filter(pk=hop.pk).update(state="up", state_since=NIGHT)
    for minutes in range(3):
        hops.move(hop.pk, delivery_rules.hops.Failed(), NIGHT + minutes * MINUTE)
    for second in range(3):
        hops.move(hop.pk, delivery_rules.hops.Completed(), NIGHT + HOUR + timedelta(seconds=second))
    Recipient.objects.filter(next_hop=hop).update(state="delivered", final_at=end - MINUTE)
    return hop


def finish(hop: NextHop, end: datetime = NIGHT + 2 * HOUR) -> None:
    hops.move(hop.pk, delivery_rules.hops.Drained(), end)


def test_when_the_queue_of_an_outage_is_through_the_contacts_are_told_once(world: World) -> None:
    world.fails(NIGHT + 10 * MINUTE, closed_at=NIGHT + 70 * MINUTE)
    hop = outage_and_drain(world)
    Recipient.objects.filter(pk=Recipient.objects.latest("pk").pk).update(state="queued", final_at=None)
    services.tick(NIGHT + 119 * MINUTE)
    assert told("drained") == []
    finish(hop)
    for seconds in range(3):
        services.tick(NIGHT + 2 * HOUR + timedelta(seconds=seconds))
    assert told("drained") == EVERYBODY
    notice = Notification.objects.filter(kind="drained").earliest("pk").context
    assert (notice["number"], notice["left"], notice["route"]) == (4, 1, "Exchange")
    assert notice["closed"] == (NIGHT + 2 * HOUR).isoformat()
    assert notice["since"] == (NIGHT + 2 * MINUTE).isoformat()
    assert AuditEntry.objects.filter(action="drain.finished").count() == 1


def test_a_hiccup_that_opened_no_outage_is_nobodys_business(world: World) -> None:
    finish(outage_and_drain(world))
    services.tick(NIGHT + 2 * HOUR)
    assert told("drained") == []


def test_an_outage_in_which_nothing_waited_needs_no_notice(world: World) -> None:
    world.fails(NIGHT)
    hop = outage_and_drain(world)
    Recipient.objects.all().delete()
    finish(hop)
    services.tick(NIGHT + 2 * HOUR)
    assert told("drained") == []


def test_after_a_pause_too(world: World) -> None:
    hop = mail_waits(world, 4, NIGHT)
    NextHop.objects.filter(pk=hop.pk).update(state="up")
    pause(world.account.pk, SCHEDULER, now=NIGHT + MINUTE)
    resume(world.account.pk, SCHEDULER, now=NIGHT + HOUR)
    Recipient.objects.filter(next_hop=hop).update(state="delivered", final_at=NIGHT + HOUR + MINUTE)
    finish(hop)
    services.tick(NIGHT + 2 * HOUR)
    assert told("drained") == EVERYBODY


def test_old_drains_and_those_of_others_are_not_told(world: World) -> None:
    other = make_world("other")
    other.fails(NIGHT)
    finish(outage_and_drain(world))
    services.tick(NIGHT + 30 * HOUR)
    assert told("drained") == []


def test_looking_costs_no_lock_when_nothing_is_new(world: World) -> None:
    world.fails(NIGHT)
    finish(outage_and_drain(world))
    for _ in range(2):  # that it told is news, too, once
        services.tick(NIGHT + 2 * HOUR)
    with CaptureQueriesContext(connection) as captured:
        assert draining.accounts() == []
    assert len(captured) == 1
