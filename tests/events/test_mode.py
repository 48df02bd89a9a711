"""Activating, extending, stopping and running out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import AuditEntry
from accounts.services import Actor, AlreadyDone, Refused
from events import reads, services
from events.models import ContinuityEvent
from events.services import clock
from tests.events.conftest import NIGHT, World, make_world

HOUR = timedelta(hours=1)
LINK = ContinuityEvent.Began.LINK


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("action", flat=True))


def activate(world: World, hours: int = 4, **more: object) -> ContinuityEvent:
    options = {"now": NIGHT} | more
    return services.activate(world.account.pk, Actor.contact(world.maria), hours, began=LINK, **options)  # type: ignore[arg-type]


def test_activated_for_four_hours_it_is_active_until_then(world: World) -> None:
    event = activate(world)
    assert event.ends_at == NIGHT + 4 * HOUR
    assert (event.began, event.began_by) == ("link", "Maria")
    assert reads.status(world.account.pk, NIGHT + 4 * HOUR - timedelta(seconds=1)).event == event
    assert reads.status(world.account.pk, NIGHT + 4 * HOUR).event is None, "over by the clock, without a job"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.before, entry.after) == ("event.activated", "inactive", "active")
    assert entry.details["until"] == (NIGHT + 4 * HOUR).isoformat()


def test_activating_twice_is_refused_with_the_present_end_in_the_zone_of_whoever_asks(world: World) -> None:
    activate(world)
    with pytest.raises(Refused, match=r"already active until Sun 1 Mar, 02:12\.$"):
        services.activate(world.account.pk, Actor.contact(world.jo), 1, began=LINK, now=NIGHT)
    assert ContinuityEvent.objects.count() == 1
    assert actions() == ["event.activated"]


def test_a_new_activation_first_closes_what_has_run_out(world: World) -> None:
    first = activate(world, 1)
    second = activate(world, now=NIGHT + 2 * HOUR, request_key="k")
    first.refresh_from_db()
    assert (first.state, first.ended, first.ended_at) == ("ended", "ran_out", NIGHT + HOUR)
    assert second.ends_at == NIGHT + 6 * HOUR
    assert actions() == ["event.activated", "event.ran_out", "checklist.opened", "event.activated"]
    ran_out = AuditEntry.objects.get(action="event.ran_out")
    assert (ran_out.by, ran_out.request_key) == ("scheduler", None)
    assert AuditEntry.objects.get(number=4).request_key == "k"


def test_extending_adds_to_the_end(world: World) -> None:
    activate(world, 4)
    event = services.extend(world.account.pk, Actor.contact(world.jo), 1, now=NIGHT + 2 * HOUR)
    assert event.ends_at == NIGHT + 5 * HOUR
    with pytest.raises(Refused, match="at most 30 days"):
        services.extend(world.account.pk, Actor.contact(world.jo), 720, now=NIGHT)
    with pytest.raises(Refused, match="how many hours"):
        services.extend(world.account.pk, Actor.contact(world.jo), -1, now=NIGHT)
    event.refresh_from_db()
    assert event.ends_at == NIGHT + 5 * HOUR


def test_stopping_ends_it_and_a_second_stop_says_so(world: World) -> None:
    activate(world)
    services.stop(world.account.pk, Actor.contact(world.jo), now=NIGHT + HOUR)
    event = ContinuityEvent.objects.get()
    assert (event.state, event.ended, event.ended_by) == ("ended", "stopped", "Jo")
    assert event.ended_at == NIGHT + HOUR
    with pytest.raises(Refused, match=r"already ended, on Sun 1 Mar, 05:12\."):
        services.stop(world.account.pk, Actor.contact(world.maria), now=NIGHT + 2 * HOUR)
    with pytest.raises(Refused, match="already ended"):
        services.extend(world.account.pk, Actor.contact(world.maria), 1, now=NIGHT + 2 * HOUR)


def test_an_event_past_its_end_can_be_neither_extended_nor_stopped(world: World) -> None:
    activate(world, 1)
    over = NIGHT + HOUR
    with pytest.raises(Refused, match=r"already ended, on Sat 28 Feb, 23:12\."):
        services.extend(world.account.pk, Actor.contact(world.jo), 1, now=over)
    with pytest.raises(Refused, match=r"already ended, on Sat 28 Feb, 23:12\."):
        services.stop(world.account.pk, Actor.contact(world.jo), now=over)


def test_what_was_never_active_cannot_be_stopped(world: World) -> None:
    with pytest.raises(Refused, match="is not active"):
        services.stop(world.account.pk, Actor.contact(world.jo), now=NIGHT)


def test_the_same_request_counts_once(world: World) -> None:
    activate(world)
    services.extend(world.account.pk, Actor.contact(world.maria), 1, request_key="a", now=NIGHT)
    with pytest.raises(AlreadyDone) as again:
        services.extend(world.account.pk, Actor.contact(world.maria), 1, request_key="a", now=NIGHT)
    assert again.value.entry.action == "event.extended"
    assert ContinuityEvent.objects.get().ends_at == NIGHT + 5 * HOUR


def test_the_clock_closes_what_ran_out_once(world: World) -> None:
    activate(world, 1)
    other = make_world("umbrella")
    activate(other, 8)
    assert clock.settle(world.account.pk, NIGHT + HOUR - timedelta(seconds=1)) == 0
    services.tick(NIGHT + 3 * HOUR)
    services.tick(NIGHT + 3 * HOUR)
    assert actions().count("event.ran_out") == 1
    assert ContinuityEvent.objects.get(account=world.account).ended_at == NIGHT + HOUR
    assert ContinuityEvent.objects.active(NIGHT + 3 * HOUR).get().account == other.account


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """Run them in threads that start together; their results, or what they raised."""
    results: list[object] = []
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        try:
            barrier.wait(20)
            results.append(call())
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.django_db(transaction=True)
def test_fifty_extensions_at_once_are_fifty_hours() -> None:
    world = make_world()
    event = activate(world, 1)
    actor = Actor.contact(world.maria)
    results = at_once([lambda: services.extend(world.account.pk, actor, 1, now=NIGHT)] * 50)
    assert [r for r in results if not isinstance(r, ContinuityEvent)] == []
    event.refresh_from_db()
    assert event.ends_at == NIGHT + 51 * HOUR
    assert actions().count("event.extended") == 50


@pytest.mark.django_db(transaction=True)
def test_of_two_activations_at_once_one_is_told_that_it_is_active() -> None:
    world = make_world()
    results = at_once([lambda: activate(world), lambda: activate(world, 8)])
    assert ContinuityEvent.objects.count() == 1
    (refused,) = [r for r in results if isinstance(r, Exception)]
    assert isinstance(refused, Refused)
    assert "already active until" in str(refused)


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_close_an_event_once() -> None:
    world = make_world()
    activate(world, 1)
    results = at_once([lambda: clock.settle(world.account.pk, NIGHT + HOUR)] * 4)
    assert sorted(map(str, results)) == ["0", "0", "0", "1"]
    assert actions().count("event.ran_out") == 1
