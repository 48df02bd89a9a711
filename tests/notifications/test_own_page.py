"""A person checks how they are reached: by a link that ends, and a code that proves the address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client

from accounts.models import Account, AuditEntry, MailDomain, Membership, Person
from accounts.people import tokens
from events.logs import redacted
from notifications.bulk import texts
from notifications.bulk.models import Notice
from notifications.bulk.progress import Claimed
from notifications.models import DemoMessage
from notifications.people import sending, services
from notifications.people.models import PersonCode
from tests.site.pages import make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def anna(clock: object) -> Person:
    account = Account.objects.create(name="Example", slug="example", is_demo=True)
    MailDomain.objects.create(account=account, name="example.org")
    return Person.objects.create(
        account=account, name="Anna", address="anna@example.org", phone="+491701234567"
    )


def page(person: Person, **data: str) -> str:
    path = f"/me/{tokens.make(person.pk)}/"
    client = Client(enforce_csrf_checks=False)
    response = client.post(path, data) if data else client.get(path)
    assert response.status_code == 200
    assert response["Referrer-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies.get("sessionid")
    return " ".join(response.content.decode().split())


def sent_code() -> str:
    """What arrived by the real way: the worker's function, the transport of the demo account."""
    sending.sweep(datetime.now(UTC))
    found = re.search(r"\b\d{6}\b", DemoMessage.objects.latest("pk").text)
    assert found
    return found[0]


def test_an_address_counts_when_its_code_came_back(anna: Person) -> None:
    shown = page(anna)
    assert "+491701234567" in shown
    assert "Not confirmed" in shown
    assert not AuditEntry.objects.exists(), "opening changes nothing"
    asked = page(anna, action="code", channel="email", address="anna@home.example")
    assert "on its way to anna@home.example" in asked
    code = sent_code()
    assert DemoMessage.objects.latest("pk").to == "anna@home.example"
    anna.refresh_from_db()
    assert anna.alternate_address == ""
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert "This is not the code" in page(anna, action="confirm", channel="email", code=wrong)
    assert "is confirmed" in page(anna, action="confirm", channel="email", code=f"{code[:3]} {code[3:]}")
    anna.refresh_from_db()
    assert (anna.alternate_address, anna.alternate_verified_at) == ("anna@home.example", NOW)
    assert "No code was sent" in page(anna, action="confirm", channel="email", code=code), "used once"
    assert "Removed" in page(anna, action="forget", channel="sms")
    anna.refresh_from_db()
    assert anna.phone == ""
    entries = list(AuditEntry.objects.order_by("number").values_list("action", "by", "actor_name"))
    assert [action for action, _by, _name in entries] == [
        "person.code_sent", "person.wrong_code", "person.verified", "person.removed",
    ]  # fmt: skip
    assert {(by, name) for _action, by, name in entries} == {("person", "Anna")}


def test_codes_are_few_and_end(anna: Person, clock: time_machine.Traveller) -> None:
    for refused in ("anna@example.org", "nonsense"):
        assert "notice amber" in page(anna, action="code", channel="email", address=refused)
    assert not PersonCode.objects.exists()
    page(anna, action="code", channel="sms", address="+49 171 7654321")
    assert "Wait" in page(anna, action="code", channel="sms", address="+49 171 7654322")
    code = sent_code()
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _guess in range(5):
        page(anna, action="confirm", channel="sms", code=wrong)
    assert "void" in page(anna, action="confirm", channel="sms", code=code)
    clock.shift(timedelta(minutes=2))
    page(anna, action="code", channel="sms", address="+49 171 7654321")
    code = sent_code()
    clock.shift(timedelta(minutes=31))
    assert "No code was sent" in page(anna, action="confirm", channel="sms", code=code)
    anna.refresh_from_db()
    assert anna.phone == "+491701234567"


def test_a_code_is_sent_once_and_not_late(anna: Person) -> None:
    services.ask_code(anna, "email", "anna@home.example", None, now=NOW)
    code = PersonCode.objects.get()
    sending.send(code.pk, NOW + timedelta(minutes=16))
    assert not DemoMessage.objects.exists()
    sending.send(code.pk, NOW)
    sending.send(code.pk, NOW)
    assert DemoMessage.objects.count() == 1
    assert code.code not in PersonCode.objects.get().words


def test_links_that_do_not_work(anna: Person, clock: time_machine.Traveller) -> None:
    token = tokens.make(anna.pk)
    for bad in (token[:-1], "1", f"{anna.pk + 1}{token[len(str(anna.pk)) :]}", "ü" * 40):
        answer = Client().get(f"/me/{bad}/")
        assert answer.status_code == 404
        assert b"Anna" not in answer.content
    clock.shift(tokens.LIFETIME + timedelta(seconds=2))
    assert Client().get(f"/me/{token}/").status_code == 410
    fresh = tokens.make(anna.pk)
    anna.delete()
    assert Client().get(f"/me/{fresh}/").status_code == 404
    assert fresh not in redacted(f"GET /me/{fresh}/ HTTP/1.1")


def test_administrators_give_links_out(anna: Person) -> None:
    other = Account.objects.create(name="Other", slug="other")
    stranger = Person.objects.create(account=other, name="Zoe", address="zoe@other.example")
    maria, sam = Client(), Client()
    maria.force_login(make_user("maria", anna.account, Membership.Role.ADMINISTRATOR))
    sam.force_login(make_user("sam", anna.account, Membership.Role.SUPPORT))
    token = tokens.make(anna.pk)
    assert token in maria.post(f"/people/{anna.pk}/link/").content.decode()
    rows = maria.post("/people/links/").getvalue().decode()
    assert token in rows
    assert "Zoe" not in rows
    assert maria.post(f"/people/{stranger.pk}/link/").status_code == 404
    assert maria.get("/people/links/").status_code == 405
    for path in (f"/people/{anna.pk}/link/", "/people/links/"):
        assert sam.post(path).status_code == 403
    notice = Notice(account=anna.account, subject="Check", text="Look: {link}", sms_text="{link}")
    copy = Claimed(7, "anna@home.example", 1, anna.pk)
    for channel in ("email", "sms"):
        assert f"/me/{token}/" in texts.render(notice, "Example", channel, copy).text
        assert "/me/" not in texts.render(notice, "Example", channel).text
