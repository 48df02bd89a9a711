"""Outages that come and go: what is the same one, and what is flapping."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from accounts.models import AuditEntry, Contact
from events import services as events
from monitoring import rules, services
from monitoring.models import Monitor, Outage, Window
from notifications.models import Notification
from tests.monitoring.conftest import START, WINDOW, Site

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


@pytest.fixture
def quick(site: Site) -> Site:
    """One failed window opens, one good one closes."""
    Monitor.objects.update(threshold=1)
    return site


def one(site: Site, number: int, result: str) -> datetime:
    """A window with one delivery; when it was judged."""
    site.attempt(START + number * WINDOW + SECOND, result, "421 Bye" if result != "delivered" else "")
    at = START + (number + 1) * WINDOW + SECOND
    Monitor.objects.update(judged_until=START + number * WINDOW)
    services.judge_due(at)
    return at


def down(site: Site, number: int) -> datetime:
    return one(site, number, "host_failure")


def up(site: Site, number: int) -> datetime:
    return one(site, number, "delivered")


def test_reopened_within_half_an_hour_it_is_the_same_outage(quick: Site) -> None:
    first = down(quick, 0)
    up(quick, 1)
    closed = Outage.objects.get().closed_at
    assert closed == START + 2 * WINDOW
    again = down(quick, 15)
    assert again - closed <= rules.REOPEN_WITHIN
    outage = Outage.objects.get()
    assert (outage.opened_at, outage.closed_at, outage.reopened) == (first, None, 1)
    assert outage.failing_since == START
    assert outage.last_opened_at == again
    assert [entry.action for entry in AuditEntry.objects.order_by("number")] == [
        "outage.opened",
        "outage.closed",
        "outage.reopened",
    ]


def test_later_it_is_another_one(quick: Site) -> None:
    down(quick, 0)
    up(quick, 1)
    down(quick, 17)
    assert Outage.objects.count() == 2


def test_one_that_closed_because_nobody_watched_does_not_open_again(quick: Site) -> None:
    down(quick, 0)
    Monitor.objects.update(active=False)
    services.judge_due(START + 2 * WINDOW)
    Monitor.objects.update(active=True)
    down(quick, 3)
    assert [outage.reopened for outage in Outage.objects.all()] == [0, 0]


@pytest.mark.parametrize("apart", [3, 20], ids=["one outage, reopened", "outages of their own"])
def test_the_fourth_opening_in_a_day_is_flapping_and_told_once(quick: Site, apart: int) -> None:
    maria = Contact.objects.create(account=quick.account, name="Maria")
    for number in range(6):
        at = down(quick, number * apart)
        events.tick(at)
        outage = Outage.objects.latest("opened_at")
        assert (outage.flapping_since is not None) == (number >= 3)
        events.tick(up(quick, number * apart + 1))
    told = Notification.objects.filter(kind="flapping")
    assert [(one.contact, one.context["number"]) for one in told] == [(maria, 4)]
    assert Outage.objects.count() == (1 if apart == 3 else 6)


def test_what_flapped_two_days_ago_does_not_count(quick: Site) -> None:
    for number in range(3):
        down(quick, number * 20)
        up(quick, number * 20 + 1)
    down(quick, 2 * 720)
    assert Outage.objects.latest("opened_at").flapping_since is None


def test_whoever_was_told_that_it_is_over_is_told_that_it_is_down_again_once(quick: Site) -> None:
    """It comes and goes five times: an alert, over, down again, and over when it is over for good."""
    Contact.objects.create(account=quick.account, name="Maria")
    for number in range(5):
        events.tick(down(quick, number * 4))
        last = up(quick, number * 4 + 2)
        events.tick(last)
    over = Notification.objects.exclude(kind="flapping").order_by("pk")
    assert [(one.kind, one.context.get("again")) for one in over] == [
        ("outage", False),
        ("recovery", None),
        ("outage", True),
    ]
    closed = Outage.objects.get().closed_at
    assert closed
    events.tick(closed + rules.REOPEN_WITHIN)
    assert Notification.objects.filter(kind="recovery").count() == 1
    events.tick(closed + rules.REOPEN_WITHIN + SECOND)
    assert Notification.objects.filter(kind="recovery").count() == 2


def test_a_fault_of_our_own_is_told_once_in_each_interval(site: Site) -> None:
    maria, tom = (Contact.objects.create(account=site.account, name=name) for name in ("Maria", "Tom"))
    site.monitor.contacts.set([maria])
    for number in range(65):
        start = START + number * MINUTE
        Window.objects.create(
            monitor=site.monitor,
            start=start,
            end=start + MINUTE,
            verdict="unknown",
            source="local",
            step=0,
            counter=0,
            reply="The gateway's own network is down.",
        )
        events.tick(start + MINUTE + SECOND)
    told = Notification.objects.filter(kind="local_fault").order_by("pk")
    assert [(one.contact, one.created_at) for one in told] == [
        (maria, START + MINUTE + SECOND),
        (maria, START + 61 * MINUTE + SECOND),
    ]
    assert told[0].context["reply"] == "The gateway's own network is down."
    events.tick(START + 200 * MINUTE)
    assert told.count() == 2, "it is over"
    assert tom.notifications.count() == 0


@pytest.mark.parametrize(("minutes", "same"), [(30, True), (31, False)])
def test_half_an_hour_is_the_limit(minutes: int, same: bool) -> None:
    assert rules.is_same_outage(START, START + minutes * MINUTE) is same
    assert rules.is_over_for_good(START, START + minutes * MINUTE) is not same
