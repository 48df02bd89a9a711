"""Events written down before they begin: times, refusals, and what the clock makes of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from accounts.models import AuditEntry, Group
from accounts.services import Actor, AlreadyDone, Refused
from events import reads, rules, services
from events.models import AlertSettings, ContinuityEvent
from events.services import Definition
from notifications.models import Notification
from tests.events.conftest import NIGHT, World

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


def planned(start: float | None, end: float, **more: object) -> Definition:
    """From so many hours after NIGHT until so many."""
    begin = None if start is None else NIGHT + start * HOUR
    return Definition(begin, NIGHT + end * HOUR, "Europe/Berlin", **more)  # type: ignore[arg-type]


def schedule(world: World, *span: float | None, **more: object) -> ContinuityEvent:
    now = more.pop("now", NIGHT)
    definition = planned(*span, **more)  # type: ignore[arg-type]
    return services.schedule(world.account.pk, Actor.contact(world.maria), definition, now=now)  # type: ignore[arg-type]


def active(world: World, hours: float) -> ContinuityEvent | None:
    return reads.status(world.account.pk, NIGHT + hours * HOUR).event


def test_a_local_time_that_comes_twice_covers_both_and_one_left_out_is_refused() -> None:
    twice = datetime.fromisoformat("2026-10-25T02:30")
    start, end = (rules.local_instant(twice, BERLIN, end=end) for end in (False, True))
    assert (end[0] - start[0], start[1], end[1]) == (HOUR, True, True)
    assert rules.local_instant(datetime.fromisoformat("2026-10-25T03:30"), BERLIN)[1] is False
    with pytest.raises(rules.NoSuchTime):
        rules.local_instant(datetime.fromisoformat("2026-03-29T02:30"), BERLIN)


def test_it_is_active_from_its_start_to_its_end_without_any_job(world: World) -> None:
    event = schedule(world, 2, 4, title="Upgrade")
    assert [active(world, hours) for hours in (0, 1.99, 2, 3.99, 4)] == [None, None, event, event, None]
    extended = services.extend(world.account.pk, Actor.contact(world.jo), 1, now=NIGHT + 3 * HOUR)
    assert (extended.pk, extended.ends_at, extended.state) == (event.pk, NIGHT + 5 * HOUR, "active")
    services.tick(NIGHT + 9 * HOUR)
    services.tick(NIGHT + 9 * HOUR)
    event.refresh_from_db()
    assert (event.state, event.ended, event.ended_at) == ("ended", "ran_out", NIGHT + 5 * HOUR)
    rows = AuditEntry.objects.filter(action__startswith="event.").order_by("number")
    whole = ["event.scheduled", "event.began", "event.extended", "event.ran_out"]
    assert [row.action for row in rows] == whole


def test_one_tick_begins_and_ends_all_that_it_missed_in_their_order(world: World) -> None:
    first, second = schedule(world, 1, 2), schedule(world, 2, 3)
    services.tick(NIGHT + 9 * HOUR)
    for event, hour in ((first, 2), (second, 3)):
        event.refresh_from_db()
        assert (event.ended, event.ended_at) == ("ran_out", NIGHT + hour * HOUR)


def test_a_start_over_an_active_event_replaces_it(world: World) -> None:
    later = schedule(world, 2, 3)
    actor = Actor.contact(world.maria)
    first = services.activate(world.account.pk, actor, 8, began=ContinuityEvent.Began.LINK, now=NIGHT)
    assert [active(world, hours) for hours in (1, 2, 3)] == [first, later, None], "before any job"
    services.tick(NIGHT + 2 * HOUR)
    first.refresh_from_db()
    assert (first.ended, first.ended_at) == ("replaced", NIGHT + 2 * HOUR)
    assert active(world, 2.5) == later
    assert active(world, 3) is None


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (2, 2, "end must be later"),
        (3, 2, "end must be later"),
        (None, -1, "end must be later"),
        (-1, 2, "start lies in the past"),
        (2, 2 + 24 * 31, "at most 30 days"),
        (24 * 400, 24 * 401, "at most 366 days"),
        (11, 13, "“Upgrade” is in the way"),
        (None, 13, "“Upgrade” is in the way"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    world: World, start: float | None, end: float, why: str
) -> None:
    schedule(world, 12, 14, title="Upgrade")
    with pytest.raises(Refused, match=why):
        schedule(world, start, end)
    assert ContinuityEvent.objects.count() == 1
    assert schedule(world, 14, 15).starts_at == NIGHT + 14 * HOUR, "the next may begin as one ends"


def test_an_event_for_groups_stands_beside_one_for_everyone(world: World) -> None:
    group = Group.objects.create(account=world.account, name="Sales")
    for groups in ([], [group.pk]):
        schedule(world, None, 5, groups=groups)
        with pytest.raises(Refused, match="already active until"):
            schedule(world, None, 6, groups=groups)
    mine, everyone = ContinuityEvent.objects.order_by("-scope")
    assert (mine.scope, list(mine.groups.all()), everyone.scope) == (str(group.pk), [group], "")
    services.stop(world.account.pk, Actor.contact(world.jo), now=NIGHT)
    assert active(world, 1) is None, "one for groups does not make the account's mode active"
    services.stop(world.account.pk, Actor.contact(world.jo), event_id=mine.pk, now=NIGHT)
    with pytest.raises(Refused, match="already ended"):
        services.extend(world.account.pk, Actor.contact(world.jo), 1, event_id=mine.pk, now=NIGHT)
    with pytest.raises(Refused, match="there no more"):
        schedule(world, 1, 2, groups=[group.pk + 1])


def test_until_it_begins_it_is_changed_and_cancelled(world: World) -> None:
    event, actor = schedule(world, 2, 4), Actor.contact(world.maria)
    services.change(world.account.pk, actor, event.pk, planned(1, 3, title="Sooner"), now=NIGHT)
    event.refresh_from_db()
    assert (event.title, event.starts_at) == ("Sooner", NIGHT + HOUR)
    late = NIGHT + 1.5 * HOUR
    for act in (
        lambda: services.cancel(world.account.pk, actor, event.pk, now=late),
        lambda: services.change(world.account.pk, actor, event.pk, planned(5, 6), now=late),
    ):
        with pytest.raises(Refused, match="has begun, on"):
            act()
    other = schedule(world, 7, 8)
    services.cancel(world.account.pk, actor, other.pk, request_key="k", now=NIGHT)
    with pytest.raises(AlreadyDone):
        services.cancel(world.account.pk, actor, other.pk, request_key="k", now=NIGHT)
    with pytest.raises(Refused, match="was cancelled"):
        services.cancel(world.account.pk, actor, other.pk, now=NIGHT)


def test_an_outage_activates_by_itself_once_and_never_against_a_person(world: World) -> None:
    AlertSettings.objects.create(account=world.account, activate_minutes=30)
    world.fails(NIGHT)
    services.tick(NIGHT + timedelta(minutes=29))
    assert not ContinuityEvent.objects.exists()
    at = NIGHT + timedelta(minutes=30)
    services.tick(at)
    services.tick(at)
    event = ContinuityEvent.objects.get()
    assert (event.began, event.starts_at, event.ends_at) == ("automatic", at, at + 24 * HOUR)
    told = Notification.objects.filter(kind="action").values_list("contact__name", flat=True)
    assert sorted(told) == ["Jo", "Kim", "Maria"]
    services.stop(world.account.pk, Actor.contact(world.maria), now=at + HOUR)
    services.tick(at + 2 * HOUR)
    assert ContinuityEvent.objects.count() == 1


def test_before_the_end_contacts_are_asked_once_for_each_end_while_the_outage_lasts(world: World) -> None:
    outage = world.fails(NIGHT)
    event = schedule(world, None, 2)
    asked = Notification.objects.filter(kind="ending")
    for minutes, expected in ((89, 0), (90, 3), (100, 3)):
        services.tick(NIGHT + timedelta(minutes=minutes))
        assert asked.count() == expected
    services.extend(world.account.pk, Actor.contact(world.maria), 1, now=NIGHT + timedelta(minutes=110))
    services.tick(NIGHT + timedelta(minutes=151))
    assert asked.count() == 6
    services.extend(world.account.pk, Actor.contact(world.maria), 1, now=NIGHT + timedelta(minutes=160))
    outage.closed_at = NIGHT + timedelta(minutes=170)
    outage.save()
    services.tick(NIGHT + timedelta(minutes=220))
    assert asked.count() == 6
    event.refresh_from_db()
    assert event.state == "active"
