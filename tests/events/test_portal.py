"""The portal: what it shows and what it does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.staticfiles import finders

from accounts.models import AuditEntry
from delivery.models import NextHop, Pause
from events import services
from events.models import ContinuityEvent
from monitoring.models import Monitor
from notifications.models import Suspension
from tests.events.conftest import NIGHT, World, mail_waits
from tests.events.phone import HOUR, Phone

pytestmark = pytest.mark.usefixtures("night")


# --- What it shows -----------------------------------------------------------------------------------


def test_a_server_that_is_back_does_not_look_down_until_its_outage_closes(world: World, phone: Phone) -> None:
    assert "Server down" in phone.text
    Monitor.objects.update(counter=2)
    NextHop.objects.update(state=NextHop.State.UP)
    page = phone.open()
    assert "The mail server answers again. It had failed since 04:12;" in page.replace(" ;", ";")
    assert "Server down" not in page


def test_it_says_what_is_wrong_and_who_is_acting_in_the_contacts_zone(world: World, phone: Phone) -> None:
    assert "Mail cannot be delivered since 04:12 (less than a minute): acme server." in phone.text
    assert "421 4.3.2 shutting down" in phone.text
    assert "Continuity mode Inactive" in phone.text
    assert "You are acting as Maria. This link works until Mon 2 Mar, 04:12" in phone.text
    assert "Times are in CET, Europe/Berlin" in phone.text
    other = Phone(world.jo)
    assert "Mail cannot be delivered since 22:12" in other.text


def test_having_seen_it_is_said_once_and_shown_to_the_others(world: World, phone: Phone) -> None:
    assert "I have seen this" in Phone(world.jo).text
    assert "Noted that you have seen this" in phone.press("seen")
    page = Phone(world.jo).text
    assert "Seen by Maria at 22:12. Nobody else is woken for it." in page
    assert "I have seen this" not in page
    assert AuditEntry.objects.get().action == "outage.acknowledged"


def test_it_counts_the_time_left(phone: Phone, night: time_machine.Traveller) -> None:
    phone.press("activate", hours="4")
    night.shift(HOUR + timedelta(minutes=48))
    assert "Active until Sun 1 Mar, 08:12 2 h 12 min left · activated by Maria" in phone.open()
    night.shift(3 * HOUR)
    assert "Continuity mode Inactive" in phone.open(), "over by the clock, though no job has run"


def test_the_page_is_private_small_and_without_script(phone: Phone) -> None:
    assert phone.headers["Cache-Control"] == "no-store"
    assert phone.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert phone.headers["Referrer-Policy"] == "same-origin"
    assert "<script" not in phone.html
    assert not re.search(r'\son\w+="|style="|javascript:', phone.html)
    paths = [finders.find(name) for name in re.findall(r'href="/static/([^"]+)"', phone.html)]
    size = len(phone.html) + sum(Path(path).stat().st_size for path in paths if path)
    assert len(paths) == 5
    assert size < 50_000


def test_a_page_costs_a_constant_number_of_queries(phone: Phone, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(25):
        phone.open()


def test_it_shows_how_far_the_queue_has_drained(world: World, night: time_machine.Traveller) -> None:
    outage = world.fails(NIGHT)
    hop = mail_waits(world, 7, NIGHT - timedelta(minutes=10))
    phone = Phone(world.maria)
    assert "7 messages wait the oldest since 04:02, for 10 min" in phone.text
    assert "On Thu 5 Mar, 04:02 the first that still waits goes back to its sender" in phone.text
    outage.closed_at = NIGHT
    outage.save()
    hop.state = "recovering"
    hop.save()
    text = phone.open()
    assert "The outage is over; mail that waited is being delivered." in text
    assert "Inbound deliveries Recovering 7 messages wait" in text
    assert "Draining: 7 left." in text


# --- What it does ------------------------------------------------------------------------------------


def test_activate(world: World, phone: Phone) -> None:
    text = phone.press("activate", hours="4")
    assert phone.redirects[0][1] == 303
    assert "Continuity mode activated It ends on Sun 1 Mar, 08:12 if it is not extended." in text
    assert "Continuity mode Active Active until Sun 1 Mar, 08:12 4 h left" in text
    event = ContinuityEvent.objects.get()
    assert (event.began, event.began_by, event.ends_at) == ("link", "Maria", NIGHT + 4 * HOUR)
    entry = AuditEntry.objects.get(action="event.activated")
    assert (entry.by, entry.actor_id, entry.ip_address) == ("contact", world.maria.pk, "127.0.0.1")


def test_extend(phone: Phone) -> None:
    phone.press("activate", hours="2")
    text = phone.press("extend", hours="1")
    assert "Continuity mode extended It now ends on Sun 1 Mar, 07:12" in text
    assert "Active until Sun 1 Mar, 07:12 3 h left" in text


def test_stop_asks_once_on_a_page_of_its_own(phone: Phone) -> None:
    phone.press("activate", hours="2")
    asked = phone.open(f"{phone.url}stop/")
    assert "End continuity mode?" in asked
    assert ContinuityEvent.objects.active(NIGHT).exists(), "asking changes nothing"
    text = phone.press("stop")
    assert "Continuity mode was ended." in text
    assert "Continuity mode Inactive" in text
    assert ContinuityEvent.objects.get().ended == "stopped"


@pytest.mark.parametrize("whom", ["me", "everyone"])
def test_suspend(world: World, phone: Phone, whom: str) -> None:
    services.tick(NIGHT)
    text = phone.press("suspend", hours="2", whom=whom)
    assert "Notifications suspended" in text
    assert "until they restart on Sun 1 Mar, 06:12." in text
    assert "your next alert comes at 06:12" in text
    assert Suspension.objects.get().contact == (world.maria if whom == "me" else None)
    text = phone.press("suspend", hours="1", whom=whom)
    assert "until they restart on Sun 1 Mar, 07:12." in text, "the duration is added to what remains"
    other = Phone(world.jo).text
    assert ("Suspended for everyone For everyone until" in other) == (whom == "everyone")


def test_pause_and_resume(phone: Phone) -> None:
    assert "Inbound deliveries paused" in phone.press("pause")
    assert Pause.objects.get().started_by == "Maria"
    assert "Paused since 04:12 by Maria." in phone.text
    assert "Inbound deliveries resumed" in phone.press("resume")
    assert Pause.objects.get().ended_by == "Maria"


# --- Twice, late and back ----------------------------------------------------------------------------


def test_a_double_submit_is_one_and_shows_the_result_of_the_first(phone: Phone) -> None:
    phone.press("activate", hours="1")
    form = phone.form(hours="2")
    first = phone.press("extend", form)
    second = phone.press("extend", form)
    assert first == second
    assert ContinuityEvent.objects.get().ends_at == NIGHT + 3 * HOUR
    assert AuditEntry.objects.filter(action="event.extended").count() == 1


def test_the_back_button_and_another_choice_is_another_request(phone: Phone) -> None:
    form = phone.form()
    phone.press("activate", form | {"hours": "1"})
    text = phone.press("activate", form | {"hours": "8"})
    assert phone.status == 409
    assert "Not done Continuity mode is already active until Sun 1 Mar, 05:12." in text
    assert "Continuity mode Active Active until Sun 1 Mar, 05:12" in text


def test_two_tabs_both_count(phone: Phone) -> None:
    phone.press("activate", hours="1")
    one = phone.form(hours="1")
    phone.open()
    other = phone.form(hours="1")
    phone.press("extend", one)
    phone.press("extend", other)
    assert ContinuityEvent.objects.get().ends_at == NIGHT + 3 * HOUR


def test_two_people_extending_both_count(world: World, phone: Phone) -> None:
    phone.press("activate", hours="1")
    jo = Phone(world.jo)
    phone.press("extend", hours="1")
    jo.press("extend", hours="1")
    assert ContinuityEvent.objects.get().ends_at == NIGHT + 3 * HOUR
