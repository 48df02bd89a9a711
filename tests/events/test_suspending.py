"""A suspension ends with what it silenced, and what is suspended after that counts from then."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEntry
from accounts.services import Actor, Refused
from events import rules, services
from events.models import AlertSettings
from notifications.models import Suspension
from tests.events.conftest import NIGHT, World, make_world
from tests.events.test_alerts import HOUR, MINUTE, told


def closes(outage: object, at: datetime) -> None:
    outage.closed_at = at  # type: ignore[attr-defined]
    outage.save()  # type: ignore[attr-defined]


def test_it_ends_early_when_the_outage_has_been_over_for_half_an_hour(world: World) -> None:
    outage = world.fails(NIGHT)
    actor = Actor.contact(world.maria)
    made = services.suspend(world.account.pk, actor, 8, now=NIGHT)
    closes(outage, NIGHT + HOUR)
    services.tick(NIGHT + HOUR + 29 * MINUTE)
    made.refresh_from_db()
    assert made.until == NIGHT + 8 * HOUR, "it might open again"
    services.tick(NIGHT + HOUR + 40 * MINUTE)
    services.tick(NIGHT + HOUR + 40 * MINUTE)
    made.refresh_from_db()
    assert made.until == NIGHT + HOUR + 30 * MINUTE
    entry = AuditEntry.objects.get(action="notifications.resumed")
    assert (entry.by, entry.before) == ("scheduler", (NIGHT + 8 * HOUR).isoformat())


def test_what_is_added_to_one_that_ended_early_counts_from_now_although_no_tick_has_ended_it(
    world: World,
) -> None:
    outage = world.fails(NIGHT)
    actor = Actor.contact(world.maria)
    services.suspend(world.account.pk, actor, 24, now=NIGHT)
    closes(outage, NIGHT + HOUR)
    again = NIGHT + 2 * HOUR
    world.fails(again)
    assert services.suspend(world.account.pk, actor, 1, now=again).until == again + HOUR
    assert services.suspend(world.account.pk, actor, 2, now=again).until == again + 3 * HOUR


def test_one_that_covers_a_later_outage_as_well_lasts_as_long_as_that(world: World) -> None:
    first = world.fails(NIGHT)
    actor = Actor.contact(world.maria)
    services.suspend(world.account.pk, actor, 4, now=NIGHT)
    closes(first, NIGHT + 10 * MINUTE)
    world.fails(NIGHT + 20 * MINUTE)
    both = services.suspend(world.account.pk, actor, 4, now=NIGHT + 20 * MINUTE)
    services.tick(NIGHT + HOUR)
    both.refresh_from_db()
    assert both.until == NIGHT + 8 * HOUR
    assert Suspension.objects.earliest("pk").until == NIGHT + 40 * MINUTE


def test_without_an_outage_there_is_nothing_to_suspend(world: World) -> None:
    actor = Actor.contact(world.maria)
    with pytest.raises(Refused, match="no outage"):
        services.suspend(world.account.pk, actor, 1, now=NIGHT)
    stranger = make_world("other")
    stranger.fails(NIGHT)
    with pytest.raises(Refused, match="no outage"):
        services.suspend(world.account.pk, actor, 1, now=NIGHT)
    world.fails(NIGHT, closed_at=NIGHT + MINUTE)
    assert services.suspend(world.account.pk, actor, 1, now=NIGHT + 30 * MINUTE)


@pytest.mark.parametrize("minutes", [15, 60, 1440])
def test_the_next_alert_is_at_the_later_of_its_end_and_the_last_alert_plus_the_interval(
    world: World, minutes: int
) -> None:
    AlertSettings.objects.create(account=world.account, interval_minutes=minutes)
    world.fails(NIGHT)
    services.tick(NIGHT)
    services.suspend(world.account.pk, Actor.contact(world.maria), 2, now=NIGHT + MINUTE)
    end = NIGHT + 2 * HOUR + MINUTE
    due = max(end, NIGHT + timedelta(minutes=minutes))
    for at in (NIGHT + HOUR, end - MINUTE, due - MINUTE, due, due + MINUTE):
        services.tick(at)
    assert told(world.maria) == [NIGHT, due]


closings = st.lists(st.none() | st.integers(-29, 600), max_size=5)


@given(closings)
def test_the_rule_ends_nothing_that_silences_an_open_outage(minutes: list[int | None]) -> None:
    ends = [None if minute is None else NIGHT + minute * MINUTE for minute in minutes]
    at = rules.silence_over_at(ends, NIGHT)
    if None in ends:
        assert at is None
    else:
        assert at is not None
        assert at > NIGHT
        assert all(end + rules.OVER_FOR_GOOD <= at for end in ends if end)
