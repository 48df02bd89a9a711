"""An account with one contact, a relay and a provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.models import Account, Contact
from accounts.services import SCHEDULER, decision
from notifications import services
from notifications.models import ContactPoint, Notification
from tests.support.relay import Relay, relay
from tests.support.sms_provider import SmsProvider, sms_provider

NOW = datetime(2026, 11, 24, 2, 12, tzinfo=UTC)
LINK = "https://continuity.example.org/m/123-AbCdEfGhIjKlMnOpQrStUv/"
FACTS = {
    "account": "Example Hospital",
    "monitor": "Exchange",
    "since": "2026-11-24T02:02:00+00:00",
    "reply": "451 4.3.2 System not accepting network messages",
    "queued": 1234,
    "oldest": "2026-11-24T01:27:00+00:00",
    "mode_until": None,
    "slot": 0,
}


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Example Hospital", slug="example")


@pytest.fixture
def contact(account: Account) -> Contact:
    return Contact.objects.create(account=account, name="Maria", time_zone="Europe/Berlin")


@pytest.fixture
def mail_relay(settings: Settings) -> Iterator[Relay]:
    with relay() as running:
        settings.ALERT_EMAIL_URL = running.url
        settings.ALERT_FROM = "Continuity <alerts@relay.example.net>"
        yield running


@pytest.fixture
def provider(settings: Settings) -> Iterator[SmsProvider]:
    with sms_provider() as running:
        settings.ALERT_SMS_URL = running.sms_url
        yield running


@pytest.fixture(autouse=True)
def _link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.services.links._resolver", lambda _notification, _now: LINK)


AddPoint = Callable[..., ContactPoint]


@pytest.fixture
def add_point(contact: Contact) -> AddPoint:
    """Adds a verified contact point; in the order of the calls."""

    def add(channel: str, address: str, **more: object) -> ContactPoint:
        order = ContactPoint.objects.count() + 1
        values: dict[str, object] = {"verified_at": NOW, "order": order, "contact": contact} | more
        return ContactPoint.objects.create(channel=channel, address=address, **values)

    return add


def put(
    contact: Contact, key: str = "outage:1:0", kind: str = "outage", *, now: datetime = NOW, **facts: object
) -> Notification:
    """A notification in the outbox, decided at `now`. Its job is left in the queue: tests send themselves."""
    with decision(contact.account_id, SCHEDULER, now=now) as made:
        notification = services.notify(made, contact, kind, FACTS | facts, key)
    assert notification is not None
    return notification


@contextmanager
def in_flight(notification: Notification, provider: SmsProvider) -> Iterator[None]:
    """The provider has the alert and does not answer yet; afterwards it does, and the sender has ended."""
    provider.hang(answer=True)

    def send() -> None:
        try:
            services.send(notification.pk, NOW)
        finally:
            connection.close()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert provider.got.wait(10)
        yield
    finally:
        provider.recover()
        sender.join(30)
    notification.refresh_from_db()
