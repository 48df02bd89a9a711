"""The portal: what it refuses, and what it never tells."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from accounts.models import AuditEntry, Contact
from accounts.services import SCHEDULER, Actor
from delivery import services as delivery
from events import services, tokens
from events.models import ContinuityEvent, ManageLink
from tests.events.conftest import NIGHT, World, make_world
from tests.events.phone import HOUR, Phone

pytestmark = pytest.mark.usefixtures("night")


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
