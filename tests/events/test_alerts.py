"""Whom an outage alerts, and when."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from accounts.models import AuditEntry, Contact
from accounts.services import Actor
from events import services
from events.models import AlertSettings, AlertStream, ContinuityEvent
from events.services.ticking import each
from notifications import services as notifications
from notifications.models import Notification
from tests.events.conftest import NIGHT, World, make_world
from tests.events.test_mode import at_once

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def told(contact: Contact, *kinds: str) -> list[datetime]:
    kinds = kinds or ("outage", "reminder")
    rows = Notification.objects.filter(contact=contact, kind__in=kinds).order_by("created_at", "pk")
    return list(rows.values_list("created_at", flat=True))


def test_a_monitor_without_contacts_alerts_every_active_contact(world: World) -> None:
    world.monitor.contacts.clear()
    Contact.objects.filter(pk=world.jo.pk).update(active=False)
    make_world("umbrella")
    world.fails(NIGHT)
    services.tick(NIGHT)
    names = Notification.objects.values_list("contact__name", flat=True)
    assert sorted(names) == ["Kim", "Maria"]


def test_an_alert_says_what_the_contact_has_to_know(world: World) -> None:
    services.activate(
        world.account.pk, Actor.contact(world.kim), 4, began=ContinuityEvent.Began.CONSOLE, now=NIGHT
    )
    outage = world.fails(NIGHT, failing_since=NIGHT - 10 * MINUTE)
    services.tick(NIGHT)
    alert = Notification.objects.get(contact=world.maria, kind="outage")
    assert alert.dedupe_key == f"outage:{outage.pk}:contact:{world.maria.pk}:slot:1"
    expected = {
        "account": "Acme",
        "monitor": "acme server",
        "since": (NIGHT - 10 * MINUTE).isoformat(),
        "reply": "421 4.3.2 shutting down",
        "queued": 0,
        "oldest": None,
        "mode_until": (NIGHT + 4 * HOUR).isoformat(),
        "slot": 1,
    }
    assert {key: alert.context[key] for key in expected} == expected
    entry = AuditEntry.objects.get(action="alert.decided")
    assert (entry.by, entry.subject) == ("scheduler", f"outage:{outage.pk}")
    assert entry.details["names"] == ["Maria", "Jo"]


def test_the_interval_is_the_accounts(world: World) -> None:
    AlertSettings.objects.create(account=world.account, interval_minutes=15)
    world.fails(NIGHT)
    for minute in range(0, 61, 3):
        services.tick(NIGHT + minute * MINUTE)
    assert told(world.maria) == [NIGHT + n * 15 * MINUTE for n in range(5)]
    assert Notification.objects.first().context["stale_minutes"] == 15  # type: ignore[union-attr]


def test_a_worker_away_for_hours_alerts_once_and_goes_on_at_the_regular_times(world: World) -> None:
    world.fails(NIGHT)
    services.tick(NIGHT)
    back = NIGHT + 5 * HOUR + 20 * MINUTE
    services.tick(back)
    services.tick(NIGHT + 6 * HOUR)
    assert told(world.maria) == [NIGHT, back, NIGHT + 6 * HOUR]


def test_a_suspension_adds_up_and_the_next_alert_goes_at_its_end(world: World) -> None:
    world.fails(NIGHT)
    services.tick(NIGHT)
    suspended_at = NIGHT + 10 * MINUTE
    for hours in (1, 2):
        notifications.suspend(world.account.pk, Actor.contact(world.maria), hours, now=suspended_at)
    end = suspended_at + 3 * HOUR
    for minute in range(10, 6 * 60, 10):
        services.tick(NIGHT + minute * MINUTE)
    assert told(world.maria) == [NIGHT, end, end + HOUR, end + 2 * HOUR]
    assert told(world.jo) == told(world.maria)


def test_just_me_silences_only_me(world: World) -> None:
    world.fails(NIGHT)
    services.tick(NIGHT)
    actor = Actor.contact(world.maria)
    notifications.suspend(world.account.pk, actor, 4, contact=world.maria, now=NIGHT)
    for hour in range(1, 5):
        services.tick(NIGHT + hour * HOUR)
    assert told(world.maria) == [NIGHT, NIGHT + 4 * HOUR]
    assert told(world.jo) == [NIGHT + hour * HOUR for hour in range(5)]


def test_a_suspension_ending_before_the_next_slot_changes_nothing(world: World) -> None:
    AlertSettings.objects.create(account=world.account, interval_minutes=240)
    world.fails(NIGHT)
    services.tick(NIGHT)
    notifications.suspend(world.account.pk, Actor.contact(world.maria), 2, now=NIGHT + HOUR)
    for half_hour in range(12):
        services.tick(NIGHT + half_hour * 30 * MINUTE)
    assert told(world.maria) == [NIGHT, NIGHT + 4 * HOUR]


def test_a_new_outage_alerts_although_the_last_one_is_silenced(world: World) -> None:
    first = world.fails(NIGHT)
    services.tick(NIGHT)
    notifications.suspend(world.account.pk, Actor.contact(world.maria), 24, now=NIGHT)
    first.closed_at = NIGHT + HOUR
    first.save()
    services.tick(NIGHT + HOUR)
    world.fails(NIGHT + 2 * HOUR)
    services.tick(NIGHT + 2 * HOUR)
    assert told(world.maria, "outage") == [NIGHT, NIGHT + 2 * HOUR]


def test_recovery_is_told_once_to_those_who_were_alerted(world: World) -> None:
    outage = world.fails(NIGHT)
    services.tick(NIGHT)
    world.monitor.contacts.add(world.kim)  # after the alert, and the outage is over before the next tick
    notifications.suspend(world.account.pk, Actor.contact(world.maria), 24, now=NIGHT)
    outage.closed_at = NIGHT + HOUR
    outage.save()
    for minute in range(60, 65):
        services.tick(NIGHT + minute * MINUTE)
        services.tick(NIGHT + minute * MINUTE)
    rows = Notification.objects.filter(kind="recovery").order_by("contact__name")
    assert [row.contact.name for row in rows] == ["Jo", "Maria"], "a suspension does not hold it back"
    assert rows[0].context["closed"] == (NIGHT + HOUR).isoformat()
    assert AuditEntry.objects.filter(action="alert.recovery").count() == 1
    assert told(world.maria) == [NIGHT]


def test_an_outage_that_nobody_was_alerted_about_recovers_in_silence(world: World) -> None:
    world.fails(NIGHT, closed_at=NIGHT + MINUTE)
    assert services.tick(NIGHT + HOUR) == 0
    assert not Notification.objects.exists()


def test_a_monitor_switched_off_is_no_recovery(world: World) -> None:
    outage = world.fails(NIGHT)
    services.tick(NIGHT)
    world.monitor.active = False
    world.monitor.save()
    outage.closed_at = NIGHT + HOUR
    outage.save()
    services.tick(NIGHT + HOUR)
    assert told(world.maria, "recovery") == []


def test_down_again_is_told_at_once_to_those_who_were_told_it_was_over(world: World) -> None:
    outage = world.fails(NIGHT)
    services.tick(NIGHT)
    outage.closed_at = NIGHT + 10 * MINUTE
    outage.save()
    services.tick(NIGHT + 10 * MINUTE)
    outage.closed_at = None  # reopened: the same outage
    outage.save()
    services.tick(NIGHT + 20 * MINUTE)
    services.tick(NIGHT + 21 * MINUTE)
    assert told(world.maria, "outage") == [NIGHT, NIGHT + 20 * MINUTE]
    again = Notification.objects.filter(contact=world.maria, kind="outage").latest("pk")
    assert again.context["again"] is True
    outage.closed_at = NIGHT + 40 * MINUTE
    outage.save()
    services.tick(NIGHT + 40 * MINUTE)
    assert told(world.maria, "recovery") == [NIGHT + 10 * MINUTE, NIGHT + 40 * MINUTE]


def test_a_contact_who_left_hears_no_more(world: World) -> None:
    outage = world.fails(NIGHT)
    services.tick(NIGHT)
    Contact.objects.filter(pk=world.jo.pk).update(active=False)
    services.tick(NIGHT + HOUR)
    outage.closed_at = NIGHT + 2 * HOUR
    outage.save()
    services.tick(NIGHT + 2 * HOUR)
    assert told(world.jo, "outage", "reminder", "recovery") == [NIGHT]


@pytest.mark.django_db(transaction=True)
def test_ticks_at_once_decide_each_alert_once() -> None:
    world = make_world()
    world.fails(NIGHT)
    for hour in range(3):
        results = at_once([lambda now=NIGHT + hour * HOUR: services.tick(now)] * 4)  # type: ignore[misc]
        assert sorted(map(str, results)) == ["0", "0", "0", "2"]
    keys = Counter(Notification.objects.values_list("contact__name", flat=True))
    assert keys == {"Maria": 3, "Jo": 3}
    assert set(AlertStream.objects.values_list("slot", flat=True)) == {3}


def test_trouble_with_one_account_keeps_no_other_from_its_alert(caplog: pytest.LogCaptureFixture) -> None:
    def decide(account_id: int, now: datetime) -> int:
        return 6 // (account_id - 2)

    assert each([1, 2, 3], decide, NIGHT) == 0
    assert "tick of account 2: decide failed" in caplog.text


# --- What one does the others are told ---------------------------------------------------------------


def test_the_others_are_told_what_one_did_with_times_of_their_own(world: World) -> None:
    actor = Actor.contact(world.maria)
    services.activate(world.account.pk, actor, 4, began=ContinuityEvent.Began.LINK, now=NIGHT)
    services.tick(NIGHT)
    services.tick(NIGHT + MINUTE)
    rows = Notification.objects.filter(kind="action").order_by("contact__name")
    assert [row.contact.name for row in rows] == ["Jo", "Kim"]
    context = rows[0].context
    assert context["what"] == "{who} activated continuity mode at {at} until {until}."
    assert context["at"] == NIGHT.isoformat()
    assert context["until"] == (NIGHT + 4 * HOUR).isoformat()


def test_every_way_to_act_is_told_but_silencing_oneself_is_not(world: World) -> None:
    from delivery import services as delivery

    who, actor = world.account.pk, Actor.contact(world.maria)
    services.activate(who, actor, 1, began=ContinuityEvent.Began.LINK, now=NIGHT)
    services.extend(who, actor, 1, now=NIGHT)
    delivery.pause(who, actor, now=NIGHT)
    delivery.resume(who, actor, now=NIGHT)
    notifications.suspend(who, actor, 1, contact=world.maria, now=NIGHT)
    notifications.suspend(who, actor, 1, now=NIGHT)
    services.stop(who, actor, now=NIGHT)
    services.tick(NIGHT)
    rows = Notification.objects.filter(kind="action", contact=world.jo).order_by("pk")
    assert [row.context["action"] for row in rows] == [
        "event.activated",
        "event.extended",
        "pause.started",
        "pause.ended",
        "notifications.suspended",
        "event.stopped",
    ]
    assert told(world.maria, "action") == []


def test_what_the_clock_did_and_what_is_a_day_old_is_not_told(world: World) -> None:
    actor = Actor.contact(world.maria)
    services.activate(world.account.pk, actor, 1, began=ContinuityEvent.Began.LINK, now=NIGHT)
    services.tick(NIGHT + 25 * HOUR)
    assert not Notification.objects.filter(kind="action").exists()


@pytest.mark.django_db(transaction=True)
def test_ticks_at_once_tell_the_others_once() -> None:
    world = make_world()
    actor = Actor.contact(world.maria)
    services.activate(world.account.pk, actor, 1, began=ContinuityEvent.Began.LINK, now=NIGHT)
    results = at_once([lambda: services.tick(NIGHT)] * 4)
    assert sorted(map(str, results)) == ["0", "0", "0", "2"]
