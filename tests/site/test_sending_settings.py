"""Who may send to other organisations: set by administrators, audited, and no password is ever shown."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import check_password
from django.test import Client

from accounts.models import AuditEntry, Membership
from delivery.models import DeliverySettings, Route, SubmissionUser
from tests.site.pages import World, make_user, make_world, signed_in

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def world() -> World:
    return make_world("ours", demo=False)


@pytest.fixture
def administrator(world: World) -> Client:
    return signed_in(world, name="maria")


def told(client: Client, part: str, **data: object) -> str:
    return client.post(f"/settings/{part}/", data, follow=True).content.decode()


def test_a_user_is_added_changed_and_removed(world: World, administrator: Client) -> None:
    page = told(
        administrator, "sender", username=" Scanner@Ours.example ", enabled="on", new_password=PASSWORD
    )
    assert "Saved." in page
    user = SubmissionUser.objects.get(account=world.account)
    assert (user.username, user.enabled) == ("scanner@ours.example", True)
    assert check_password(PASSWORD, user.password)
    assert "Saved." in told(administrator, f"sender/{user.pk}", username="scanner@ours.example")
    user.refresh_from_db()
    assert not user.enabled
    assert check_password(PASSWORD, user.password)
    told(
        administrator,
        f"sender/{user.pk}",
        username=user.username,
        enabled="on",
        new_password="x" * 6 + "yz81 q",
    )
    user.refresh_from_db()
    assert not check_password(PASSWORD, user.password)
    assert "was removed" in told(administrator, f"sender/{user.pk}", remove="1")
    assert not SubmissionUser.objects.exists()
    audit = str(list(AuditEntry.objects.filter(account=world.account).values()))
    assert "submissionuser" in audit
    assert PASSWORD not in audit
    assert "_sha256$" not in audit


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [
        ("two words", PASSWORD, "no spaces"),
        ("taken@ours.example", PASSWORD, "already exists"),
        ("new@ours.example", "short", "too short"),
        ("new@ours.example", "", "required"),
    ],
)
def test_what_is_no_user_is_refused_in_words(
    world: World, administrator: Client, name: str, password: str, words: str
) -> None:
    SubmissionUser.objects.create(account=world.account, username="taken@ours.example", password="x")
    assert words in told(administrator, "sender", username=name, enabled="on", new_password=password)
    assert SubmissionUser.objects.count() == 1


def test_networks_are_kept_in_one_form(world: World, administrator: Client) -> None:
    text = "192.0.2.7/24\r\n2001:db8::1, 198.51.100.1\r\n\r\n192.0.2.0/24"
    page = told(administrator, "networks", outbound_networks=text)
    assert "Saved." in page
    assert "<code>192.0.2.0/24</code>" in page
    kept = DeliverySettings.objects.get(account=world.account).outbound_networks
    assert kept == ["192.0.2.0/24", "2001:db8::1/128", "198.51.100.1/32"]
    form = administrator.get("/settings/networks/").content.decode()
    assert "192.0.2.0/24\n2001:db8::1/128" in form
    told(administrator, "networks", outbound_networks="")
    assert DeliverySettings.objects.get(account=world.account).outbound_networks == []


@pytest.mark.parametrize("text", ["example.org", "0.0.0.0/0", "10.0.0.0/7", "::/0", "192.0.2.1 x"])
def test_what_is_no_network_of_ones_own_is_refused(world: World, administrator: Client, text: str) -> None:
    page = told(administrator, "networks", outbound_networks=text)
    assert "is not an address or network" in page or "is too wide" in page
    assert not DeliverySettings.objects.exclude(outbound_networks=[]).exists()


def test_support_staff_see_them_and_change_nothing(world: World) -> None:
    SubmissionUser.objects.create(
        account=world.account, username="scanner@ours.example", password="secret-hash"
    )
    client = Client()
    client.force_login(make_user("sam", world.account, Membership.Role.SUPPORT))
    page = client.get("/settings/").content.decode()
    assert "scanner@ours.example" in page
    assert "no outbound route yet" in page
    Route.objects.create(account=world.account, name="out", kind=Route.Kind.OUTBOUND)
    assert "no outbound route yet" not in client.get("/settings/").content.decode()
    assert "secret-hash" not in page
    assert client.get("/settings/sender/").status_code == 403
    assert client.post("/settings/networks/", {"outbound_networks": "192.0.2.1"}).status_code == 403
