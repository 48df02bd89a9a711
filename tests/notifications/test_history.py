"""The page of what contacts were told: filters, pages, the providers' words, nothing of another account."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from accounts.models import Account, Contact, Membership
from notifications import history
from notifications.models import Attempt, Notification
from tests.notifications.conftest import NOW
from tests.site.pages import make_user


@pytest.fixture
def console(client: Client, account: Account) -> Client:
    client.force_login(make_user("maria", account, Membership.Role.SUPPORT))
    return client


def told(
    contact: Contact, number: int, *, kind: str = "outage", state: str = "sent", **more: object
) -> Notification:
    at = NOW + timedelta(minutes=number // 2)  # two at one instant
    return Notification.objects.create(
        account=contact.account,
        contact=contact,
        kind=kind,
        state=state,
        dedupe_key=f"{contact.pk}:{number}",
        created_at=at,
        due_at=at,
        **more,
    )


def shown(console: Client, query: str = "") -> list[int]:
    response = console.get(f"/contacts/alerts/{query}")
    assert response.status_code == 200
    return [one.pk for one in response.context["alerts"]]


def test_each_attempt_shows_with_the_providers_words(console: Client, contact: Contact) -> None:
    alert = told(contact, 1, state="failed", failure="Every contact point refused it: 550 <no> such user")
    for number, (state, words) in enumerate((("temporary", "429 Slow down"), ("permanent", "550 <no>"))):
        Attempt.objects.create(
            notification=alert,
            channel="sms",
            state=state,
            provider_reply=words,
            started_at=NOW,
            repeat=number > 0,
        )
    page = console.get("/contacts/alerts/").content.decode()
    for words in ("429 Slow down", "550 &lt;no&gt;", "Failed for now", "repeated", "Outage alert", "Maria"):
        assert words in page


def test_what_is_held_back_is_said_above_and_on_its_line(console: Client, contact: Contact) -> None:
    told(contact, 1)
    held = told(contact, 2, state="pending", held_back="The limit of 12 SMS is reached until 03:40 UTC.")
    page = console.get("/contacts/alerts/").content.decode()
    assert "1 alert is held back" in page
    assert "The limit of 12 SMS is reached until 03:40 UTC." in page
    assert shown(console, "?state=held") == [held.pk]


def test_filters(console: Client, account: Account, contact: Contact) -> None:
    paul = Contact.objects.create(account=account, name="Paul")
    sent, waiting = told(contact, 1), told(contact, 2, state="pending")
    delivered = told(paul, 3, kind="recovery", state="delivered")
    assert shown(console) == [delivered.pk, waiting.pk, sent.pk]
    assert shown(console, "?state=waiting") == [waiting.pk]
    assert shown(console, "?state=delivered") == [delivered.pk]
    assert shown(console, "?kind=outage") == [waiting.pk, sent.pk]
    assert shown(console, f"?contact={paul.pk}") == [delivered.pk]
    assert shown(console, "?state=failed") == []
    # What cannot be asked shows nothing, and says so at the field.
    for nonsense in ("?state=nonsense", "?kind=x", "?contact=99999", "?contact=a", "?before=-1"):
        assert shown(console, nonsense) == []


def test_pages_neither_skip_nor_repeat(
    console: Client, contact: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 3)
    every = [told(contact, number).pk for number in range(8)]
    seen, query = [], ""
    while True:
        response = console.get(f"/contacts/alerts/{query}")
        seen += [one.pk for one in response.context["alerts"]]
        if response.context["older"] is None:
            break
        query = f"?before={response.context['older']}"
    assert seen == every[::-1]


def test_nothing_of_another_account(console: Client, contact: Contact) -> None:
    other = Contact.objects.create(
        account=Account.objects.create(name="Other", slug="other"), name="Somebody else"
    )
    foreign = told(other, 1, state="pending", held_back="x")
    mine = told(contact, 0)
    assert shown(console) == [mine.pk]
    assert shown(console, f"?contact={other.pk}") == []
    assert shown(console, f"?before={foreign.pk}") == [mine.pk]
    page = console.get("/contacts/alerts/").content.decode()
    assert "Somebody else" not in page
    assert "held back by" not in page
