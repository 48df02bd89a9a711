"""What the console changes: each form once, refused in words, audited, and only for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from accounts.models import AuditEntry, Contact, Membership, User
from continuity_site.demo import control
from delivery.models import Message, Pause, Recipient, Route
from events.models import AlertSettings, ContinuityEvent
from monitoring.models import Monitor, Outage
from notifications.models import ContactPoint, Suspension
from tests.site.pages import NOW, World, make_user, make_world, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def frozen() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def world() -> World:
    return make_world("ours", demo=False)


@pytest.fixture
def administrator(world: World) -> Client:
    return signed_in(world, name="maria")


def told(client: Client, address: str, data: dict[str, object] | None = None) -> str:
    return client.post(address, data or {}, follow=True).content.decode()


def test_stop_activate_extend(world: World, administrator: Client) -> None:
    assert "Continuity mode was ended." in told(administrator, "/actions/stop/")
    assert "already ended" in told(administrator, "/actions/stop/")
    assert "Continuity mode activated" in told(administrator, "/actions/activate/", {"hours": 2})
    assert "already active" in told(administrator, "/actions/activate/", {"hours": 2})
    page = told(administrator, "/actions/extend/", {"hours": 1})
    assert "Continuity mode extended. It now ends 23 Nov 2026, 19:00 CET." in page
    event = ContinuityEvent.objects.get(state="active")
    assert (event.began, event.began_by) == ("console", "Maria")
    assert (event.ends_at - NOW).total_seconds() == 3 * 3600


@pytest.mark.parametrize("hours", ["", "0", "-1", "1.5", "721", "9" * 30, "x", "²"])
def test_senseless_hours_are_refused_in_words(world: World, administrator: Client, hours: str) -> None:
    page = told(administrator, "/actions/extend/", {"hours": hours})
    assert "Choose for how many hours" in page
    assert not AuditEntry.objects.filter(action="event.extended").exists()


def test_the_same_form_sent_twice_decides_once(world: World, administrator: Client) -> None:
    form = {"hours": 1, "request_key": "nonce"}
    told(administrator, "/actions/extend/", form)
    assert "nothing was done twice" in told(administrator, "/actions/extend/", form)
    assert AuditEntry.objects.filter(action="event.extended").count() == 1


def test_pause_and_resume(world: World, administrator: Client) -> None:
    page = told(administrator, "/actions/pause/", {"reason": "Moving the server"})
    assert "Inbound deliveries paused" in page
    assert "Paused by Maria" in page
    assert Pause.objects.get().reason == "Moving the server"
    assert "Inbound deliveries resumed" in told(administrator, "/actions/resume/")
    assert Pause.objects.get().ended_at == NOW


def test_suspend(world: World, administrator: Client) -> None:
    assert "Notifications suspended. They restart 23 Nov 2026, 20:00 CET." in told(
        administrator, "/actions/suspend/", {"hours": 4}
    )
    assert Suspension.objects.filter(contact=None).count() == 1


def test_seen(world: World, administrator: Client) -> None:
    form: dict[str, object] = {"request_key": "one"}
    assert "Noted that you have seen this." in told(administrator, "/actions/seen/", form)
    entry = AuditEntry.objects.get(action="outage.acknowledged")
    assert (entry.actor_name, entry.details["outages"]) == ("Maria", [Outage.objects.get().pk])
    assert "nothing was done twice" in told(administrator, "/actions/seen/", form)
    Outage.objects.update(closed_at=NOW)
    assert "There is no outage any more." in told(administrator, "/actions/seen/")
    assert AuditEntry.objects.filter(action="outage.acknowledged").count() == 1


def test_suspend_for_just_me(world: World, administrator: Client) -> None:
    Suspension.objects.all().delete()
    form = {"hours": 2, "whom": "me"}
    Contact.objects.filter(pk=world.contact.pk).update(user=User.objects.get(username="maria"))
    assert "Notifications to you suspended. They restart 23 Nov 2026, 18:00 CET." in told(
        administrator, "/actions/suspend/", form
    )
    assert Suspension.objects.get().contact == world.contact
    page = told(administrator, "/actions/suspend/", form)
    assert "They restart 23 Nov 2026, 20:00 CET." in page, "it adds up"
    Contact.objects.filter(pk=world.contact.pk).update(user=None)
    before = Suspension.objects.filter(contact=None).count()
    page = told(administrator, "/actions/suspend/", form)
    assert Suspension.objects.filter(contact=None).count() == before, "not everybody instead"
    assert "You are not a contact" in page


def test_nobody_else_changes_anything(world: World) -> None:
    support, stranger, forger = Client(), Client(), Client(enforce_csrf_checks=True)
    support.force_login(make_user("sam", world.account, Membership.Role.SUPPORT))
    stranger.force_login(make_user("stranger", None, None))
    forger.force_login(make_user("maria", world.account, Membership.Role.ADMINISTRATOR))
    before = AuditEntry.objects.count()
    addresses = [
        f"/actions/{name}/" for name in ("activate", "extend", "seen", "stop", "suspend", "pause", "resume")
    ]
    addresses += [
        "/monitors/add/",
        "/contacts/add/",
        "/settings/account/",
        f"/settings/route/{world.route.pk}/",
    ]
    for address in addresses:
        assert Client().post(address, {"hours": 1}).status_code == 302
        for client in (support, stranger, forger):
            assert client.post(address, {"hours": 1}).status_code == 403, address
        assert forger.get("/actions/stop/").status_code == 405
    assert AuditEntry.objects.count() == before
    assert support.post("/actions/unknown/").status_code == 403


def test_an_unknown_action_does_not_exist(administrator: Client) -> None:
    assert administrator.post("/actions/unknown/").status_code == 404


def test_going_back_only_to_our_own_pages(administrator: Client) -> None:
    assert administrator.post("/actions/stop/", {"next": "/events/"}).headers["Location"] == "/events/"
    for target in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        assert administrator.post("/actions/stop/", {"next": target}).headers["Location"] == "/"


def test_a_monitor_is_added_changed_and_switched_off(world: World, administrator: Client) -> None:
    form: dict[str, object] = {
        "description": "Second",
        "route": world.route.pk,
        "threshold": 3,
        "contacts": [world.contact.pk],
        "time_zone": "Europe/Berlin",
        "active": "on",
    }
    assert "The monitor was saved." in told(administrator, "/monitors/add/", form)
    monitor = Monitor.objects.get(description="Second")
    assert list(monitor.contacts.all()) == [world.contact]
    del form["active"]
    told(administrator, f"/monitors/{monitor.pk}/edit/", form)
    monitor.refresh_from_db()
    assert not monitor.active
    entry = AuditEntry.objects.get(action="settings.changed")
    assert entry.details["changes"] == {"active": ["True", "False"]}
    assert "Nothing was saved" in told(administrator, "/monitors/add/", form), "the name is taken"
    assert Monitor.objects.count() == 2


def test_a_monitor_takes_no_route_or_contact_of_another_account(world: World, administrator: Client) -> None:
    theirs = make_world("theirs")
    form = {
        "description": "Mine",
        "route": theirs.route.pk,
        "contacts": [theirs.contact.pk],
        "threshold": 3,
        "time_zone": "UTC",
    }
    page = told(administrator, "/monitors/add/", form)
    assert page.count("Select a valid choice") == 2
    assert not Monitor.objects.filter(description="Mine").exists()


CONTACT: dict[str, object] = {
    "name": "Maria",
    "time_zone": "Europe/Berlin",
    "language": "de",
    "telling": "order",
    "fall_through_minutes": 5,
    "active": "on",
}


def points(*rows: dict[str, object], initial: int = 0) -> dict[str, object]:
    form: dict[str, object] = {"points-TOTAL_FORMS": len(rows), "points-INITIAL_FORMS": initial}
    for n, row in enumerate(rows):
        form |= {f"points-{n}-{name}": value for name, value in row.items()}
    return form


def test_a_contact_with_points_is_saved_all_or_nothing(world: World, administrator: Client) -> None:
    base = CONTACT | {"name": "Tom"}
    inside: dict[str, object] = {"channel": "email", "address": "tom@ours0.example"}
    page = told(administrator, "/contacts/add/", base | points(inside))
    assert "Nothing was saved" in page
    assert not world.account.contacts.filter(name="Tom").exists()
    outside: dict[str, object] = {"channel": "email", "address": "tom@phone.example"}
    assert "The contact was saved." in told(administrator, "/contacts/add/", base | points(outside))
    assert world.account.contacts.get(name="Tom").language == "de"
    point = ContactPoint.objects.get(contact__name="Tom")
    assert point.verified_at is None, "it has to be verified before it counts"


def test_a_changed_address_is_not_verified_any_more(world: World, administrator: Client) -> None:
    point = world.contact.points.get()
    form = CONTACT
    row: dict[str, object] = {"id": point.pk, "channel": "sms", "address": point.address}
    told(administrator, f"/contacts/{world.contact.pk}/edit/", form | points(row, initial=1))
    point.refresh_from_db()
    assert str(point.verified_at) == str(NOW)
    row["address"] = "+4915112345678"
    told(administrator, f"/contacts/{world.contact.pk}/edit/", form | points(row, initial=1))
    point.refresh_from_db()
    assert (point.address, str(point.verified_at)) == ("+4915112345678", "None")


def test_a_point_of_another_account_cannot_be_taken_over(world: World, administrator: Client) -> None:
    theirs = make_world("theirs")
    foreign = theirs.contact.points.get()
    form = CONTACT
    row = {"id": foreign.pk, "channel": "sms", "address": "+4915112345678"}
    administrator.post(f"/contacts/{world.contact.pk}/edit/", form | points(row, initial=1))
    foreign.refresh_from_db()
    assert (foreign.contact_id, foreign.address) == (theirs.contact.pk, "+12025550000")


def test_settings_and_dashboard_say_that_bounces_wait_for_a_route(
    world: World, administrator: Client
) -> None:
    for address in ("/settings/", "/"):
        assert "add an outbound route" not in administrator.get(address).content.decode()
    waiting = Recipient.objects.filter(message__account=world.account).update(
        state=Recipient.State.EXPIRED, next_attempt_at=NOW + timedelta(hours=1)
    )
    page = " ".join(administrator.get("/settings/").content.decode().split())
    assert waiting == 1
    assert "1 message could not be delivered, and its sender cannot be told: add an outbound route." in page
    assert "its sender cannot be told: add an outbound route." in administrator.get("/").content.decode()
    assert "Authentic senders only" in page
    assert "outgoing after 60 min, incoming never" in page


@pytest.mark.parametrize(
    ("sender", "notify", "why"),
    [
        ("", "", "as bounces do: there is nobody to tell"),
        ("anna@outside.example", "NEVER", "The sender asked not to be told"),
        ("anna@outside.example", "", "The sender was not proven"),
    ],
)
def test_a_message_says_why_its_sender_was_not_told(
    world: World, administrator: Client, sender: str, notify: str, why: str
) -> None:
    Message.objects.filter(pk=world.message.pk).update(sender=sender)
    Recipient.objects.filter(message=world.message).update(
        state=Recipient.State.REJECTED, notify=notify, final_at=NOW
    )
    assert why in administrator.get(f"/queue/{world.message.pk}/").content.decode()


def test_settings_are_saved_and_audited(world: World, administrator: Client) -> None:
    assert "Saved." in told(administrator, "/settings/account/", {"name": "New", "time_zone": "Europe/Paris"})
    assert "Saved." in told(administrator, "/settings/alerts/", {"interval_minutes": 15, "step_minutes": 20})
    assert "Nothing was saved" in told(administrator, "/settings/alerts/", {"interval_minutes": 14})
    waiting: dict[str, object] = {"queue_hours": 48, "bounce": "authentic", "warn_outbound_minutes": 60}
    waiting |= {"content_days": 7, "metadata_days": 400}
    assert "Saved." in told(administrator, "/settings/delivery/", waiting)
    assert AlertSettings.objects.get().interval_minutes == 15
    world.account.refresh_from_db()
    assert (world.account.name, world.account.delivery_settings.queue_hours) == ("New", 48)
    assert AuditEntry.objects.filter(action__startswith="settings.").count() == 3


@pytest.mark.parametrize("name", ["", "localhost", "a b.example", "x@y.example", "ours0.example", "." * 9])
def test_a_domain_that_cannot_be_is_refused(world: World, administrator: Client, name: str) -> None:
    page = told(administrator, "/settings/domain/", {"name": name, "policy": "known"})
    assert "Nothing was saved" in page
    assert world.account.domains.count() == 1


def test_a_domain_is_kept_in_its_one_form(world: World, administrator: Client) -> None:
    told(administrator, "/settings/domain/", {"name": " Bücher.Example. ", "policy": "all"})
    assert world.account.domains.filter(name="xn--bcher-kva.example", policy="all").exists()


def test_a_route_with_its_hosts(world: World, administrator: Client) -> None:
    form = {
        "name": "Second",
        "kind": "inbound",
        "max_connections": 5,
        "hosts-TOTAL_FORMS": 1,
        "hosts-INITIAL_FORMS": 0,
        "hosts-0-hostname": "mail.second.example",
        "hosts-0-port": 25,
        "hosts-0-tls": "required",
        "hosts-0-preference": 10,
    }
    assert "Saved." in told(administrator, "/settings/route/", form)
    route = Route.objects.get(name="Second")
    assert [str(host) for host in route.hosts.all()] == ["mail.second.example:25"]
    assert route.next_hops.get().state == "up"
    assert "was removed" in told(administrator, f"/settings/route/{route.pk}/", {"remove": "1"})
    assert not Route.objects.filter(name="Second").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "continuity.localhost", "127.0.0.9"])
def test_a_route_back_to_the_gateway_is_refused(world: World, administrator: Client, host: str) -> None:
    form = {
        "name": "Loop",
        "kind": "inbound",
        "max_connections": 5,
        "hosts-TOTAL_FORMS": 1,
        "hosts-INITIAL_FORMS": 0,
        "hosts-0-hostname": host,
        "hosts-0-port": 2525,
        "hosts-0-tls": "opportunistic",
        "hosts-0-preference": 10,
    }
    assert "leads back to this gateway" in told(administrator, "/settings/route/", form)
    assert not Route.objects.filter(name="Loop").exists()


def test_a_route_in_use_is_not_removed(world: World, administrator: Client) -> None:
    assert "still in use" in told(administrator, f"/settings/route/{world.route.pk}/", {"remove": "1"})
    assert Route.objects.filter(pk=world.route.pk).exists()


def test_the_demo_mail_server_follows_its_buttons() -> None:
    world = make_world("demo")
    client = Client()
    client.force_login(make_user("maria", world.account, Membership.Role.ADMINISTRATOR))
    for mode in ("stopped", "slow", "refuse4", "refuse5", "up"):
        assert "Demo mail server:" in told(client, "/demo/server/", {"mode": mode})
        assert control.get_mode() == mode
    assert client.post("/demo/server/", {"mode": "exploded"}).status_code == 404
