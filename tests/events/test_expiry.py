"""Nobody is surprised on day four: the contacts are told 24 and 6 hours before mail goes back."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.services import SCHEDULER
from delivery.models import DeliverySettings, Recipient, Route
from delivery.services import pause, resume
from events import services
from events.rules import ExpiryWarned, expiry_warning
from events.services import expiry
from notifications import services as notifications
from notifications.models import Notification, Suspension
from tests.events.conftest import NIGHT, World, mail_waits
from tests.support.audit import behind_its_back

HOUR = timedelta(hours=1)
DAYS4 = 96 * HOUR


def told(kind: str = "expiry") -> list[tuple[str, int]]:
    """Who was told, and which number."""
    rows = Notification.objects.filter(kind=kind).order_by("pk")
    return [(row.contact.name, row.context["number"]) for row in rows]


@pytest.mark.django_db
def test_the_contacts_are_told_twice_and_not_for_each_message(world: World) -> None:
    mail_waits(world, 30, NIGHT)
    due = NIGHT + DAYS4
    services.tick(due - 25 * HOUR)
    assert told() == []
    services.tick(due - 24 * HOUR)
    assert told() == [("Maria", 30), ("Jo", 30), ("Kim", 30)]
    for minutes in range(0, 1000, 50):
        services.tick(due - 23 * HOUR + timedelta(minutes=minutes))
    assert len(told()) == 3
    services.tick(due - 6 * HOUR)
    services.tick(due - 5 * HOUR)
    assert len(told()) == 6
    assert {row.context["hours"] for row in Notification.objects.all()} == {24, 6}
    assert Notification.objects.first().context["at"] == due.isoformat()  # type: ignore[union-attr]
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["expiry.warned"] * 2


@pytest.mark.django_db
def test_the_number_is_of_the_day_that_follows_the_first(world: World) -> None:
    hop = mail_waits(world, 5, NIGHT)
    Recipient.objects.filter(next_hop=hop).order_by("pk")[4:5].get().delete()
    late = Recipient.objects.filter(next_hop=hop).latest("pk")
    late.expires_at += 25 * HOUR
    late.save()
    services.tick(NIGHT + DAYS4 - 24 * HOUR)
    assert told()[0] == ("Maria", 3)


@pytest.mark.django_db
def test_paused_mail_does_not_go_back_and_nobody_is_told(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    pause(world.account.pk, SCHEDULER, now=NIGHT + 50 * HOUR)
    services.tick(NIGHT + 90 * HOUR)
    assert told() == []
    resume(world.account.pk, SCHEDULER, now=NIGHT + 90 * HOUR)
    services.tick(NIGHT + 90 * HOUR)
    assert told() == [], "40 hours do not count"
    services.tick(NIGHT + 112 * HOUR)
    assert len(told()) == 3


@pytest.mark.django_db
def test_after_a_pause_the_count_down_is_told_anew(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    services.tick(NIGHT + 91 * HOUR)
    assert len(told()) == 3
    pause(world.account.pk, SCHEDULER, now=NIGHT + 91 * HOUR)
    resume(world.account.pk, SCHEDULER, now=NIGHT + 140 * HOUR)
    services.tick(NIGHT + 140 * HOUR)
    assert len(told()) == 6
    assert Notification.objects.last().context["at"] == (NIGHT + 145 * HOUR).isoformat()  # type: ignore[union-attr]


@pytest.mark.django_db
def test_a_suspension_does_not_silence_it(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    world.fails(NIGHT)
    notifications.suspend(world.account.pk, SCHEDULER, 24, now=NIGHT + 70 * HOUR)
    assert Suspension.objects.exists()
    services.tick(NIGHT + 73 * HOUR)
    assert len(told()) == 3


@pytest.mark.django_db
def test_outgoing_mail_and_short_lives_warn_nobody(world: World) -> None:
    hop = mail_waits(world, 3, NIGHT)
    Route.objects.update(kind=Route.Kind.OUTBOUND)
    services.tick(NIGHT + 95 * HOUR)
    assert told() == []
    Route.objects.update(kind=Route.Kind.INBOUND)
    DeliverySettings.objects.create(account=world.account, queue_hours=24)
    Recipient.objects.filter(next_hop=hop).update(expires_at=NIGHT + 24 * HOUR)
    services.tick(NIGHT + HOUR)
    assert told() == []
    services.tick(NIGHT + 19 * HOUR)
    assert len(told()) == 3


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_tell_it_once(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    barrier = threading.Barrier(2)

    def tick() -> None:
        try:
            barrier.wait(10)
            services.tick(NIGHT + 80 * HOUR)
        finally:
            connection.close()

    threads = [threading.Thread(target=tick) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(told()) == 3


@pytest.mark.django_db
def test_the_link_in_it_opens_a_page_that_says_so_and_offers_the_pause(world: World, client: Client) -> None:
    mail_waits(world, 3, NIGHT)
    at = NIGHT + 73 * HOUR
    with time_machine.travel(at, tick=False):
        services.tick(at)
        row = Notification.objects.get(contact=world.maria)
        page = client.get(services.resolve_link(row, at)).content.decode()
    page = re.sub(r"<[^>]+>", "", page)
    assert "3 messages go back to their senders from Thu 5 Mar, 04:12 on unless they are delivered" in page
    assert "Pause inbound deliveries" in page


@pytest.mark.django_db
def test_bounces_without_a_way_are_told_once_with_what_to_do(world: World) -> None:
    hop = mail_waits(world, 3, NIGHT)
    now = NIGHT + 97 * HOUR
    Recipient.objects.filter(next_hop=hop).update(state="expired", next_attempt_at=now + HOUR)
    services.tick(now)
    services.tick(now + timedelta(minutes=10))
    assert told("route_missing") == [("Maria", 3), ("Jo", 3), ("Kim", 3)]
    Notification.objects.all().delete()
    with behind_its_back():
        AuditEntry.objects.all().delete()
    Route.objects.create(account=world.account, name="out", kind=Route.Kind.OUTBOUND)
    services.tick(now)
    assert told("route_missing") == []


@pytest.mark.django_db
def test_with_nothing_due_it_costs_two_questions(world: World) -> None:
    mail_waits(world, 3, NIGHT)
    with CaptureQueriesContext(connection) as captured:
        assert expiry.accounts(NIGHT + HOUR) == []
    assert len(captured) == 2


@pytest.mark.parametrize(
    ("left", "warned", "expected"),
    [
        (25, None, None),
        (24, None, 24),
        (7, None, 24),
        (6, None, 6),
        (-1, None, 6),
        (23, (24, 23), None),
        (6, (24, 6), 6),
        (5, (6, 5), None),
        (3, (6, -23), None),
        (3, (6, -24), 6),
    ],
)
def test_the_rule(left: int, warned: tuple[int, int] | None, expected: int | None) -> None:
    now: datetime = timezone.now()
    last = ExpiryWarned(warned[0] * HOUR, now + warned[1] * HOUR) if warned else None
    found = expiry_warning(now + left * HOUR, DAYS4, last, now)
    assert found == (None if expected is None else expected * HOUR)
