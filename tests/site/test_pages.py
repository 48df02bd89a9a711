"""Every console page: who sees it, what stays hidden, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership
from accounts.services import SCHEDULER, decision
from delivery.models import MessageContent, Recipient
from tests.site.pages import FOR_ADMINISTRATORS, NOW, OF_ROWS, World, make_user, make_world
from tests.site.rows import SECRET

pytestmark = pytest.mark.django_db
ADMINISTRATOR, SUPPORT = Membership.Role.ADMINISTRATOR, Membership.Role.SUPPORT


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ours() -> World:
    return make_world("ours")


def signed_in(name: str, world: World | None, role: Membership.Role | None) -> Client:
    client = Client()
    client.force_login(make_user(name, world.account if world else None, role))
    return client


def test_an_administrator_sees_every_page(ours: World) -> None:
    client = signed_in("maria", ours, ADMINISTRATOR)
    for name, address in ours.addresses().items():
        response = client.get(address)
        assert response.status_code == 200, name
        assert response.headers["Cache-Control"] == "private, no-store"


def test_support_reads_and_is_offered_nothing_to_change(ours: World) -> None:
    client = signed_in("sam", ours, SUPPORT)
    for name, address in ours.addresses().items():
        response = client.get(address)
        assert response.status_code == (403 if name in FOR_ADMINISTRATORS else 200), name
        if name in ("dashboard", "monitors", "contacts", "settings", "demo"):
            for word in ("Activate", "Pause deliveries", "Suspend notifications", "Stop the", "Add a"):
                assert f">{word}" not in response.content.decode(), (name, word)


def test_anonymous_is_sent_to_the_sign_in_page(ours: World) -> None:
    for name, address in ours.addresses().items():
        response = Client().get(address)
        assert (response.status_code, response.headers["Location"][:15]) == (302, "/sign-in/?next="), name


def test_a_user_without_an_account_is_told_so(ours: World) -> None:
    client = signed_in("stranger", None, None)
    for name, address in ours.addresses().items():
        response = client.get(address)
        assert response.status_code == 403, name
        assert "belong to no account" in response.content.decode()
        assert "ours" not in response.content.decode().lower()


def test_nothing_of_another_account_is_seen_or_told_apart_from_nothing(ours: World) -> None:
    theirs = make_world("theirs")
    client = signed_in("maria", ours, ADMINISTRATOR)
    for name, address in theirs.addresses().items():
        response = client.get(address)
        missing = client.get(re.sub(r"\d+", "999999", address))
        assert "theirs" not in response.content.decode().lower(), name
        if name in OF_ROWS:
            assert response.status_code == missing.status_code == 404, name
            assert response.content == missing.content


def test_the_filter_offers_and_takes_no_route_of_another_account(ours: World) -> None:
    theirs = make_world("theirs")
    client = signed_in("maria", ours, ADMINISTRATOR)
    page = client.get(f"/queue/?route={theirs.route.pk}").content.decode()
    assert "Select a valid choice" in page
    assert "@theirs" not in page


def test_a_page_cursor_of_another_account_is_ignored(ours: World) -> None:
    theirs = make_world("theirs")
    client = signed_in("maria", ours, ADMINISTRATOR)
    cursor = theirs.message.recipients.get().pk
    assert "ours subject" in client.get(f"/queue/?before={cursor}&state=waiting").content.decode()


def test_support_never_sees_content(ours: World) -> None:
    address = ours.addresses()["message"]
    support, administrator = signed_in("sam", ours, SUPPORT), signed_in("maria", ours, ADMINISTRATOR)
    assert b"ours header 0" not in support.get(address).content
    page = administrator.get(address).content
    assert b"ours header 0" in page
    assert SECRET not in page


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff\xfe no header at all",
        b"Subject: =?utf-8?B?////?=\r\nContent-Type: multipart/mixed; boundary=\r\n" * 50,
        b"X: " + b"(" * 70_000,
        b"<script>alert(1)</script>: x\n\nbody",
    ],
)
def test_hostile_headers_are_shown_as_they_are(ours: World, data: bytes) -> None:
    MessageContent.objects.filter(message=ours.message).update(data=data)
    response = signed_in("maria", ours, ADMINISTRATOR).get(ours.addresses()["message"])
    assert response.status_code == 200
    assert b"<script>alert" not in response.content


def test_the_timeline_of_an_event_tells_its_story_in_order(ours: World) -> None:
    for action, minutes in (
        ("outage.opened", 19),
        ("alert.decided", 19),
        ("event.stopped", 1),
        ("route.up", -9),
    ):
        with decision(ours.account.pk, SCHEDULER, now=NOW - timedelta(minutes=minutes)) as decided:
            decided.record(action)
    ours.event.state, ours.event.ended, ours.event.ended_at = "ended", "stopped", NOW
    ours.event.save()
    page = signed_in("sam", ours, SUPPORT).get(ours.addresses()["event"]).content.decode()
    timeline = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page[page.index('id="timeline"') :]))
    told = ["Outage alert", "Outage opened", "Continuity mode activated", "Continuity mode ended"]
    places = [timeline.index(words) for words in told]
    assert places == sorted(places)
    assert "Mail server flowing" not in timeline, "that was after its end"
    assert "decided" not in timeline.lower()


def test_a_backlog_that_drains_shows_its_progress() -> None:
    world = make_world("ours", rows=8)
    hop = world.route.next_hops.get()
    hop.state, hop.state_since, hop.backlog_before = "recovering", NOW - timedelta(minutes=2), NOW
    hop.save()
    waiting = Recipient.objects.filter(message__account=world.account)
    waiting.update(next_hop=hop, accepted_at=NOW - timedelta(hours=1))
    done = Recipient.objects.filter(pk__in=waiting.values("pk")[:3])
    done.update(state="delivered", final_at=NOW - timedelta(seconds=30))
    page = signed_in("sam", world, SUPPORT).get("/").content.decode()
    assert '<progress value="3" max="8"' in page
    assert "Draining: 5 left at 3/min, through" in page


def test_a_membership_that_ends_takes_effect_with_the_next_request(ours: World) -> None:
    client = signed_in("maria", ours, ADMINISTRATOR)
    assert client.get("/queue/").status_code == 200
    Membership.objects.all().delete()
    assert client.get("/queue/").status_code == 403


def test_choosing_among_accounts(ours: World) -> None:
    theirs, foreign = make_world("theirs"), make_world("foreign")
    client = signed_in("maria", ours, ADMINISTRATOR)
    Membership.objects.create(
        user_id=int(client.session["_auth_user_id"]), account=theirs.account, role=SUPPORT
    )
    assert client.post("/account/", {"account": theirs.account.pk}).status_code == 302
    page = client.get("/events/").content.decode()
    assert "theirs event" in page
    assert "ours event" not in page
    assert client.post("/actions/stop/").status_code == 403, "support there, administrator here"
    assert client.post("/account/", {"account": foreign.account.pk}).status_code == 404
    assert client.get("/account/").status_code == 405


def test_the_demo_page_exists_for_the_demo_account_only() -> None:
    world = make_world("ours", demo=False)
    client = signed_in("maria", world, ADMINISTRATOR)
    assert client.get("/demo/").status_code == 404
    assert client.get(f"/demo/letter/{world.letter.pk}/").status_code == 404
    assert client.post("/demo/server/", {"mode": "stopped"}).status_code == 404
    assert "Demo" not in client.get("/").content.decode()


def test_pages_are_clean_under_the_content_policy(ours: World) -> None:
    client = signed_in("maria", ours, ADMINISTRATOR)
    for name, address in ours.addresses().items():
        if name == "letter":
            continue
        response = client.get(address)
        page = response.content.decode()
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:", page), name


def test_a_letter_is_sandboxed_by_a_policy_of_its_own(ours: World) -> None:
    policy = (
        signed_in("maria", ours, ADMINISTRATOR)
        .get(ours.addresses()["letter"])
        .headers["Content-Security-Policy"]
    )
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_the_cost_of_a_page_does_not_grow_with_its_rows() -> None:
    counts = []
    for slug, rows in (("few", 1), ("many", 9)):
        world = make_world(slug, rows=rows)
        client = signed_in(f"user-{slug}", world, ADMINISTRATOR)
        client.get("/")
        found = {}
        for name, address in world.addresses().items():
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            found[name] = len(queries)
        counts.append(found)
    assert counts[0] == counts[1]
    assert max(counts[1].values()) <= 36  # the dashboard: it says the score of readiness as well


def test_the_queue_filters_and_pages_without_counting_everything() -> None:
    world = make_world("ours", rows=60)
    client = signed_in("maria", world, ADMINISTRATOR)
    for state in ("", "waiting", "queued"):
        seen: list[str] = []
        address = f"/queue/?state={state}"
        for _page in range(2):
            with CaptureQueriesContext(connection) as queries:
                page = client.get(address).content.decode()
            listing = [one["sql"] for one in queries if "delivery_message" in one["sql"]]
            assert all("COUNT(" not in sql or "LIMIT 2001" in sql or "LIMIT 10001" in sql for sql in listing)
            seen += re.findall(r">(user\d+@ours\.example)<", page)
            cursor = re.search(r"before=(\d+)", page)
            address = f"/queue/?state={state}&before={cursor and cursor[1]}"
        assert len(seen) == len(set(seen)) == 60, state
    for query, expected in {
        "recipient=USER7@": 1,
        "subject=subject+3": 11,
        "message_id=5@ours.example": 1,
        "message_id=%3C5@ours.example%3E": 1,
        "sender=nobody": 0,
        "state=delivered": 0,
        "age=1": 0,
        f"route={world.route.pk}": 1,
    }.items():
        page = client.get(f"/queue/?{query}").content.decode()
        assert len(re.findall(r">user\d+@ours\.example<", page)) == expected, query
