"""The portal: what it shows, what it does, what it refuses, and what it never tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Contact
from accounts.services import SCHEDULER, Actor
from delivery import services as delivery
from delivery.models import NextHop, Pause
from events import services, tokens
from events.models import ContinuityEvent, ManageLink
from monitoring.models import Monitor
from notifications.models import Suspension
from tests.events.conftest import NIGHT, World, mail_waits, make_world

HOUR = timedelta(hours=1)
NONCE = re.compile(r'name="nonce" value="([^"]+)"')
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture(autouse=True)
def night(world: World) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NIGHT, tick=False) as clock:
        yield clock


def make_link(contact: Contact) -> ManageLink:
    now = timezone.now()
    return ManageLink.objects.create(
        account_id=contact.account_id, contact=contact, created_at=now, expires_at=now + 24 * HOUR
    )


class Phone:
    """A contact's browser on their portal page. It sends only what the page's forms hold."""

    def __init__(self, contact: Contact) -> None:
        self.link = make_link(contact)
        self.url = f"/m/{tokens.make(self.link)}/"
        self.client = Client(enforce_csrf_checks=True)
        self.open()

    def open(self, url: str = "") -> str:
        response = self.client.get(url or self.url)
        self.status = response.status_code
        self.html = response.content.decode()
        self.headers = response.headers
        return self.text

    @property
    def text(self) -> str:
        """What is to be read, without markup."""
        body = re.sub(r"<title>.*?</title>|<[^>]+>", " ", self.html, flags=re.S)
        return " ".join(unescape(body).split()).replace(" .", ".").replace(" ,", ",")

    def form(self, **values: str) -> dict[str, str]:
        hidden = {"nonce": NONCE.search(self.html), "csrfmiddlewaretoken": CSRF.search(self.html)}
        return {name: found[1] for name, found in hidden.items() if found} | values

    def press(self, action: str, form: dict[str, str] | None = None, **values: str) -> str:
        response = self.client.post(f"{self.url}{action}/", form or self.form(**values), follow=True)
        self.status, self.html, self.headers = (
            response.status_code,
            response.content.decode(),
            response.headers,
        )
        self.redirects: list[tuple[str, int]] = response.redirect_chain
        return self.text


@pytest.fixture
def phone(world: World) -> Phone:
    world.fails(NIGHT)
    return Phone(world.maria)


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


# --- What it refuses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "action", "form", "words"),
    [
        ("activate", "activate", {"hours": "1"}, "Continuity mode is already active until Sun 1 Mar, 05:12."),
        ("", "extend", {"hours": "1"}, "Continuity mode is not active."),
        ("", "stop", {}, "Continuity mode is not active."),
        ("ended", "extend", {"hours": "1"}, "Continuity mode has already ended, on Sun 1 Mar, 04:12."),
        ("ended", "stop", {}, "Continuity mode has already ended, on Sun 1 Mar, 04:12."),
        ("pause", "pause", {}, "Inbound deliveries are paused already."),
        ("", "resume", {}, "Inbound deliveries are not paused."),
        ("", "activate", {"hours": "3"}, "Choose 1, 2, 4, 8 or 24 hours."),
        ("", "activate", {"hours": "-4"}, "Choose 1, 2, 4, 8 or 24 hours."),
        ("", "activate", {"hours": "1e9"}, "Choose 1, 2, 4, 8 or 24 hours."),
        ("", "activate", {}, "Choose 1, 2, 4, 8 or 24 hours."),
        ("", "suspend", {"hours": "99999999999", "whom": "me"}, "Choose 1, 2, 4, 8 or 24 hours."),
        ("", "suspend", {"hours": "1", "whom": "jo"}, "for you or for everyone"),
        ("", "activate", {"hours": "1", "nonce": ""}, "Please press the button again."),
    ],
)
def test_a_refusal_says_why_and_shows_the_present_state(
    world: World, phone: Phone, before: str, action: str, form: dict[str, str], words: str
) -> None:
    actor = Actor.contact(world.jo)
    if before in ("activate", "ended"):
        services.activate(world.account.pk, actor, 1, began=ContinuityEvent.Began.API)
    if before == "ended":
        services.stop(world.account.pk, actor)
    if before == "pause":
        delivery.pause(world.account.pk, actor)
    decided = AuditEntry.objects.count()
    text = phone.press(action, phone.form(**form))
    assert phone.status == 409
    assert f"Not done {words}" in text or words in text
    assert "Continuity mode Active" in text if before == "activate" else "Continuity mode Inactive" in text
    assert AuditEntry.objects.count() == decided, "nothing was changed"


def test_there_is_nothing_to_suspend_without_an_outage(world: World) -> None:
    phone = Phone(world.maria)
    assert "There is no outage now." in phone.text
    assert "There is no outage, so" in phone.press("suspend", hours="1", whom="me")
    assert phone.status == 409


@pytest.mark.parametrize("action", ["activate", "extend", "stop", "suspend", "pause", "resume"])
def test_no_action_without_the_csrf_token(phone: Phone, action: str) -> None:
    form = phone.form(hours="1", whom="me")
    del form["csrfmiddlewaretoken"]
    text = phone.press(action, form)
    assert phone.status == 403
    assert "Nothing was changed" in text
    assert not AuditEntry.objects.exists()


# --- GET never changes anything ----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["", "activate/", "extend/", "stop/", "suspend/", "pause/", "resume/"])
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_a_mail_scanner_that_opens_links_changes_nothing(phone: Phone, action: str, method: str) -> None:
    getattr(phone.client, method)(f"{phone.url}{action}?hours=4&whom=everyone&nonce={'a' * 20}")
    assert not AuditEntry.objects.exists()
    assert not ContinuityEvent.objects.exists()


def test_opening_is_noted_on_the_link_apart_from_acting(phone: Phone, night: time_machine.Traveller) -> None:
    night.shift(HOUR)
    phone.open()
    phone.client.head(phone.url)
    phone.link.refresh_from_db()
    assert phone.link.opened == 2
    assert (phone.link.first_opened_at, phone.link.last_opened_at) == (NIGHT, NIGHT + HOUR)
    phone.press("activate", hours="1")
    phone.link.refresh_from_db()
    assert phone.link.opened == 2


# --- A confirmation cannot be made up ----------------------------------------------------------------


def test_a_confirmation_is_only_of_what_this_contact_did_lately(
    world: World, phone: Phone, night: time_machine.Traveller
) -> None:
    jo = Phone(world.jo)
    jo.press("activate", hours="1")
    number = AuditEntry.objects.get().number
    said = "Continuity mode activated"
    assert said in jo.open(f"{jo.url}?done={number}")
    assert said not in phone.open(f"{phone.url}?done={number}"), "another contact did it"
    for nonsense in ("0", "2", "-1", "x", "1" * 30, "٣", "1 OR 1"):
        assert said not in jo.open(f"{jo.url}?done={nonsense}")
        assert jo.status == 200
    night.shift(timedelta(minutes=16))
    assert said not in jo.open(f"{jo.url}?done={number}"), "by now it may not be so any more"


# --- Forged, expired, revoked, somebody else's -------------------------------------------------------


def facts(world: World) -> list[str]:
    return [world.account.name, world.monitor.description, "Maria", "Jo", "outage", "Active until"]


def test_a_forged_token_is_told_nothing_and_all_are_told_the_same(world: World, phone: Phone) -> None:
    token = tokens.make(phone.link)
    unknown = tokens.make(ManageLink(pk=phone.link.pk + 1000))
    forged = [token[:-1] + ("A" if token[-1] != "A" else "B"), f"0{token}", "x", "1.", "%00", "é", unknown]
    pages = set()
    for bad in forged:
        for method in (phone.client.get, phone.client.head):
            response = method(f"/m/{bad}/")
            assert response.status_code == 404
            assert response.headers["Cache-Control"] == "no-store"
        page = phone.client.get(f"/m/{bad}/").content
        assert not [fact for fact in facts(world) if fact.encode() in page]
        pages.add(page)
        form = phone.form(hours="1")
        assert phone.client.post(f"/m/{bad}/activate/", form).status_code == 404
    assert len(pages) == 1
    assert not ContinuityEvent.objects.exists()


@pytest.mark.parametrize("why", ["expired", "revoked", "inactive"])
def test_a_link_that_is_over_says_so_and_nothing_else(
    world: World, phone: Phone, night: time_machine.Traveller, why: str
) -> None:
    form = phone.form(hours="1", whom="me")
    if why == "expired":
        night.shift(24 * HOUR)
    elif why == "revoked":
        services.revoke(phone.link, SCHEDULER)
    else:
        Contact.objects.filter(pk=world.maria.pk).update(active=False)
    decided = AuditEntry.objects.count()
    text = phone.open()
    assert phone.status == 410
    assert "This link no longer works" in text
    assert not [fact for fact in facts(world)[:4] if fact in phone.html]
    for action in ("activate", "extend", "stop", "suspend", "pause", "resume"):
        phone.press(action, form)
        assert phone.status == 410
    assert AuditEntry.objects.count() == decided
    phone.link.refresh_from_db()
    assert phone.link.opened == 1


def test_an_action_that_does_not_exist_is_a_plain_page(phone: Phone) -> None:
    phone.press("destroy", hours="1")
    assert phone.status == 404


def test_a_link_shows_and_changes_its_own_account_only(world: World, phone: Phone) -> None:
    other = make_world("umbrella")
    other.fails(NIGHT, reply="550 umbrella words")
    services.activate(other.account.pk, Actor.contact(other.maria), 8, began=ContinuityEvent.Began.API)
    assert "mbrella" not in phone.open()
    assert "Continuity mode Inactive" in phone.text
    assert "Continuity mode activated" not in phone.open(f"{phone.url}?done=1"), "of the other account"
    phone.press("activate", hours="1")
    phone.press("stop")
    assert ContinuityEvent.objects.get(account=other.account).state == "active"
    assert not AuditEntry.objects.filter(account=other.account, actor_id=world.maria.pk).exists()


def test_a_name_cannot_bring_markup(world: World) -> None:
    world.account.name = "<script>alert(1)</script>"
    world.account.save()
    world.fails(NIGHT, reply="<img src=x onerror=alert(1)>")
    phone = Phone(world.maria)
    assert "<script" not in phone.html
    assert "<img" not in phone.html
