"""Receipts: what a provider tells later moves the alert on, once, and a stranger learns and moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, Contact
from notifications import services
from notifications.models import Attempt, ContactPoint, Notification
from notifications.reads import attempts_of
from tests.notifications.conftest import NOW, AddPoint, in_flight, put
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider, signature

BASE = "https://continuity.example.org"
PHONE, MAIL = "+4915123456789", "maria@elsewhere.example"

Tell = Callable[..., Any]


@pytest.fixture
def api(provider: SmsProvider, settings: Settings) -> SmsProvider:
    settings.ALERT_SMS_URL, settings.BASE_URL = provider.twilio_url, BASE
    provider.answer_as_twilio()
    return provider


@pytest.fixture
def tell() -> Tell:
    """Posts a receipt as Twilio does, for the last SMS, by a client that insists on CSRF tokens."""

    def post(
        status: str, code: str = "", *, path: str = "", signed: str | None = None, get: bool = False
    ) -> Any:
        if not path:
            last = Attempt.objects.filter(channel="sms").latest("pk")
            path = f"/receipts/twilio/{last.notification_id}.{last.pk}/"
        form = {"MessageSid": "SM1", "MessageStatus": status, "To": PHONE}
        form |= {"ErrorCode": code} if code else {}
        body = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in form.items())
        headers = {"X-Twilio-Signature": signature(BASE + path, form) if signed is None else signed}
        client = Client(enforce_csrf_checks=True)
        if get:
            return client.get(path, headers=headers)
        return client.post(path, body, content_type="application/x-www-form-urlencoded", headers=headers)

    return post


@pytest.fixture
def sent(contact: Contact, add_point: AddPoint, api: SmsProvider, mail_relay: Relay) -> Notification:
    """An alert that Twilio has accepted, with an e-mail point behind."""
    add_point("sms", PHONE)
    add_point("email", MAIL)
    notification = put(contact)
    services.send_due(NOW)
    return notification


def states(notification: Notification) -> list[tuple[str, str]]:
    return [(attempt.channel, attempt.state) for attempt in attempts_of(notification.pk)]


def test_a_delivered_message_is_known_as_delivered(
    sent: Notification, api: SmsProvider, tell: Tell, mail_relay: Relay
) -> None:
    assert api.received[0].body["StatusCallback"].startswith(f"{BASE}/receipts/twilio/{sent.pk}.")
    assert tell("sent").status_code == 204
    assert states(sent) == [("sms", "sent")]
    assert tell("delivered").status_code == 204
    sent.refresh_from_db()
    assert sent.state == "delivered"
    [attempt] = attempts_of(sent.pk)
    assert attempt.state == "delivered"
    assert attempt.receipt_at is not None
    assert attempt.provider_reply.endswith("– delivered")
    # Repeated or out of order, it stays so.
    for status in ("delivered", "sent", "undelivered"):
        assert tell(status).status_code == 204
    sent.refresh_from_db()
    assert (sent.state, states(sent)) == ("delivered", [("sms", "delivered")])
    assert services.send_due(NOW + timedelta(minutes=5)) == 0
    assert not mail_relay.received


def test_a_message_that_did_not_arrive_falls_through_to_the_next_point(
    sent: Notification, tell: Tell, mail_relay: Relay
) -> None:
    for _time in range(2):
        assert tell("undelivered", "30003").status_code == 204
    sent.refresh_from_db()
    assert (sent.state, sent.sent_at) == ("pending", None)
    assert services.send_due(NOW + timedelta(seconds=20)) == 1
    assert states(sent) == [("sms", "temporary"), ("email", "sent")]
    assert "undelivered 30003" in attempts_of(sent.pk)[0].provider_reply
    assert not ContactPoint.objects.exclude(disabled_at=None).exists()
    # A replay of the old failure touches nothing of what came after it.
    tell("undelivered", "30003")
    assert services.send_due(NOW + timedelta(minutes=1)) == 0
    assert len(mail_relay.received) == 1


def test_a_number_that_is_no_use_is_disabled(sent: Notification, tell: Tell) -> None:
    tell("failed", "21610")
    point = ContactPoint.objects.get(channel="sms")
    assert point.disabled_at is not None
    assert "21610" in point.disabled_reason
    assert AuditEntry.objects.get().action == "contact_point.disabled"
    services.send_due(NOW + timedelta(seconds=20))
    assert states(sent) == [("sms", "permanent"), ("email", "sent")]


def test_what_was_thought_lost_and_arrived_is_delivered(
    contact: Contact, add_point: AddPoint, api: SmsProvider, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.transports.http.ANSWER_SECONDS", 0.2)
    api.hang()
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    notification.refresh_from_db()
    assert states(notification) == [("sms", "unknown"), ("sms", "unknown")]
    assert notification.state == "failed"
    tell("delivered")
    notification.refresh_from_db()
    assert (notification.state, notification.failure) == ("delivered", "")
    assert notification.sent_at is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("status", "then"), [("delivered", "delivered"), ("undelivered", "sent")])
def test_a_receipt_may_overtake_the_answer(
    status: str,
    then: str,
    contact: Contact,
    add_point: AddPoint,
    api: SmsProvider,
    mail_relay: Relay,
    tell: Tell,
) -> None:
    """It comes while the sender still waits for Twilio's answer to the request."""
    add_point("sms", PHONE)
    add_point("email", MAIL)
    notification = put(contact)
    with in_flight(notification, api):
        assert tell(status).status_code == 204
    notification.refresh_from_db()
    assert notification.state == then
    expected = [("sms", "delivered")] if then == "delivered" else [("sms", "temporary"), ("email", "sent")]
    assert states(notification) == expected


@pytest.mark.django_db(transaction=True)
def test_a_receipt_between_two_points_keeps_neither_from_being_used(
    contact: Contact, add_point: AddPoint, api: SmsProvider, mail_relay: Relay, tell: Tell
) -> None:
    contact.telling = Contact.Telling.AT_ONCE
    contact.save()
    add_point("sms", PHONE)
    add_point("email", MAIL)
    notification = put(contact)
    with in_flight(notification, api):
        assert tell("delivered").status_code == 204
    notification.refresh_from_db()
    assert states(notification) == [("sms", "delivered"), ("email", "sent")]
    assert notification.state == "delivered"


@pytest.mark.parametrize("how", ["unsigned", "forged", "other address", "get", "unknown id", "no provider"])
def test_a_stranger_learns_and_moves_nothing(
    how: str, sent: Notification, tell: Tell, settings: Settings
) -> None:
    if how == "unsigned":
        answer = tell("delivered", signed="")
    elif how == "forged":
        answer = tell("delivered", signed="ÄÄÄ=")
    elif how == "other address":
        answer = tell("delivered", signed=signature(BASE + "/receipts/twilio/1.1/", {}))
    elif how == "get":
        answer = tell("delivered", get=True)
    elif how == "unknown id":
        answer = tell("delivered", path="/receipts/twilio/999999.999999/", signed="x")
    else:
        settings.ALERT_SMS_URL = ""
        answer = tell("delivered")
    assert answer.status_code == 404
    assert b"wilio" not in answer.content
    assert states(sent) == [("sms", "sent")]


def test_a_signed_receipt_for_nothing_does_no_harm(sent: Notification, tell: Tell) -> None:
    for path in ("/receipts/twilio/999999.999999/", f"/receipts/twilio/999999.{attempts_of(sent.pk)[0].pk}/"):
        assert tell("delivered", path=path).status_code == 204
    assert states(sent) == [("sms", "sent")]


def test_an_address_with_its_port_is_signed_with_or_without_it(
    sent: Notification, tell: Tell, settings: Settings
) -> None:
    settings.BASE_URL = f"{BASE}:443"  # the signature of `tell` is of the address without it
    assert tell("delivered").status_code == 204
    assert states(sent) == [("sms", "delivered")]
