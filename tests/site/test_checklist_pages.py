"""The checklist, what to do during an event, and support calls, as people use them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from accounts.models import AuditEntry, Membership, Person
from accounts.services import SCHEDULER
from delivery.models import RouteTest
from delivery.services import pause
from events.models import ChecklistItem, SupportCall
from notifications.bulk.models import Notice
from tests.site.pages import NOW, World, make_world, signed_in

pytestmark = pytest.mark.django_db
SUPPORT = Membership.Role.SUPPORT


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def world() -> World:
    return make_world("ours")


@pytest.fixture
def maria(world: World) -> Client:
    return signed_in(world, name="maria")


def text(client: Client, address: str) -> str:
    page = client.get(address).content.decode()
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page[page.index("<main") :]))


def test_the_console_shows_what_is_left_and_each_item_offers_its_action(world: World, maria: Client) -> None:
    RouteTest.objects.all().delete()
    Notice.objects.all().delete()
    pause(world.account.pk, SCHEDULER, now=NOW)
    assert "6 to do" in maria.get("/queue/").content.decode()

    address = f"/events/{world.checklist.event_id}/checklist/"
    page = text(maria, address)
    for words in (
        "ours event 0",
        "still paused",
        "Not tested since",
        "Write the notice",
        "1 call about the event is open",
    ):
        assert words in page
    maria.post("/actions/resume/", {"next": address})
    assert "Inbound deliveries are not paused." in text(maria, address)

    maria.post(f"{address}route/test/", {"route": world.route.pk})
    assert RouteTest.objects.filter(route=world.route).count() == 1
    assert "Running" in text(maria, address)
    maria.post(f"{address}route/test/", {"route": world.route.pk}, follow=True)
    assert RouteTest.objects.filter(route=world.route).count() == 1

    answer = maria.post(f"/events/{world.checklist.event_id}/notice/", {"request_key": "once"})
    draft = Notice.objects.latest("pk")
    assert answer.headers["Location"] == f"/notices/{draft.pk}/edit/"
    assert (draft.state, draft.everybody) == ("draft", True)
    again = maria.post(f"/events/{world.checklist.event_id}/notice/", {"request_key": "once"})
    assert again.headers["Location"] == f"/notices/{draft.pk}/"
    assert "A draft is there" in text(maria, address)

    maria.post(f"{address}users/waive/", {"reason": "All work from home"})
    assert "Waived by Maria" in (page := text(maria, address))
    assert "All work from home" in page
    maria.post(f"{address}users/take-back/")
    assert ChecklistItem.objects.get(checklist=world.checklist, kind="users").state == "open"


def test_support_sees_the_checklist_and_settles_nothing_of_it(world: World) -> None:
    sam = signed_in(world, SUPPORT, "sam")
    address = f"/events/{world.checklist.event_id}/checklist/"
    page = sam.get(address).content.decode()
    assert "Waive" not in page
    assert "/checklist/" not in "".join(re.findall('action="([^"]*)"', page))
    for path in ("users/waive/", "route/test/", "users/take-back/"):
        assert sam.post(address + path, {"reason": "x", "route": world.route.pk}).status_code == 403
    assert sam.post(f"/events/{world.checklist.event_id}/notice/").status_code == 403
    call = SupportCall.objects.get(event=world.checklist.event_id)
    sam.post(f"/events/calls/{call.pk}/settle/")
    call.refresh_from_db()
    assert call.settled_by == "Sam"
    item = ChecklistItem.objects.get(checklist=world.checklist, kind="calls")
    assert (item.state, item.settled_by) == ("settled", "Sam")


def test_nonsense_and_other_accounts_are_missing(world: World, maria: Client) -> None:
    theirs = make_world("theirs")
    ours, other = world.checklist.event_id, theirs.checklist.event_id
    call = SupportCall.objects.filter(account=theirs.account).latest("pk")
    for path in (
        f"{other}/checklist/users/waive/",
        f"{ours}/checklist/users/dance/",
        f"{ours}/checklist/everything/waive/",
        f"{other}/notice/",
        f"calls/{call.pk}/settle/",
        f"calls/{SupportCall.objects.filter(account=world.account).latest('pk').pk}/dance/",
    ):
        assert maria.post(f"/events/{path}", {"reason": "x"}).status_code == 404, path
    assert maria.post(f"/events/{ours}/checklist/route/test/", {"route": theirs.route.pk}).status_code == 404
    assert "theirs" not in maria.get(f"/events/calls/?of={other}").content.decode()
    assert maria.get(f"/events/calls/?of=x&before=9{'9' * 30}&state=?").status_code == 200


def test_a_call_finds_its_person_without_a_script(world: World) -> None:
    sam = signed_in(world, SUPPORT, "sam")
    anna = Person.objects.create(account=world.account, name="Anna Berg", address="anna@ours.example")
    Person.objects.create(account=world.account, name="Annabel Rot", address="rot@ours.example")
    Person.objects.create(
        account=make_world("theirs").account, name="Anna Strange", address="a@strange.example"
    )
    before = SupportCall.objects.count()

    def log(who: str, **more: object) -> str:
        data = {"who": who, "what": "No mail since nine", "event": world.active.pk} | more
        return sam.post("/events/calls/", data).content.decode()

    asked = log("anna")
    assert "Anna Berg, anna@ours.example" in asked
    assert "Annabel" in asked
    assert "Strange" not in asked
    assert SupportCall.objects.count() == before
    log("anna", asked="anna", person=anna.pk)
    call = SupportCall.objects.latest("pk")
    assert (call.person, call.name, call.event) == (anna, str(anna), world.active)
    log("ANNA@ours.example")
    assert SupportCall.objects.latest("pk").person == anna
    log("anna", asked="anna", person="none", settled="on")
    call = SupportCall.objects.latest("pk")
    assert (call.person, call.name, call.settled_by) == (None, "anna", "Sam")
    log("A new voice", asked="anna", person=anna.pk)
    assert SupportCall.objects.latest("pk").name == "A new voice", "the answer was about other words"
    assert "required" in log("", what="")
    assert SupportCall.objects.count() == before + 4
    assert AuditEntry.objects.filter(action="call.logged", actor_name="Sam").count() == 4

    for _twice in range(2):
        log("Ben", request_key="nonce")
    assert SupportCall.objects.filter(name="Ben").count() == 1
    found = text(sam, f"/events/calls/?q=ben&state=open&of={world.active.pk}")
    assert "Ben" in found
    assert "A new voice" not in found.partition("Change")[2]


def test_during_an_event_and_after_it(world: World, maria: Client) -> None:
    address = f"/events/{world.active.pk}/during/"
    page = text(maria, address)
    for words in (
        "Tell the users",
        "the oldest came",
        "Consider pausing",
        "Check the mail clients",
        "ours caller 0",
    ):
        assert words in page
    maria.post("/actions/pause/", {"next": address})
    assert "Paused by Maria" in text(maria, address)
    maria.post("/actions/stop/")
    assert maria.get(address).headers["Location"] == f"/events/{world.active.pk}/checklist/"
    assert "After ours event 0 , still to do: End event definitions, Let deliveries flow" in text(maria, "/")
