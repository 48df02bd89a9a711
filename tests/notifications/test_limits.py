"""What is over a limit is held back, said, and sent later or another way; nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import Settings

from accounts.models import Account, Contact
from notifications import rules, services
from notifications.models import Attempt, ContactPoint, Notification
from notifications.reads import attempts_of
from notifications.rules import DAY, HOUR, Limit
from tests.notifications.conftest import NOW, AddPoint, put
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

PHONE, MAIL = "+4915123456789", "maria@elsewhere.example"
MINUTE = timedelta(minutes=1)


def limited(monkeypatch: pytest.MonkeyPatch, *limits: Limit) -> None:
    monkeypatch.setattr(rules, "LIMITS", limits)


def add_contact(account: Account, name: str) -> Contact:
    contact = Contact.objects.create(account=account, name=name)
    ContactPoint.objects.create(contact=contact, channel="sms", address=PHONE, verified_at=NOW)
    return contact


def test_the_shipped_limits_make_28000_sms_impossible() -> None:
    most_in_a_day = min(
        limit.most * (DAY / limit.within)
        for limit in rules.LIMITS
        if (limit.channel, limit.per, limit.kind) == ("sms", "installation", "")
    )
    assert most_in_a_day <= 5000
    assert {"contact", "account", "installation"} <= {one.per for one in rules.LIMITS if one.channel == "sms"}
    # An outage alert every 15 minutes, and its recovery, are never held back for one contact.
    assert all(limit.most >= 5 for limit in rules.LIMITS)


def test_what_is_over_the_limit_waits_says_so_and_is_sent_when_the_span_is_over(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, Limit("sms", "contact", 2, 10 * MINUTE))
    add_point("sms", PHONE)
    alerts = [put(contact, f"outage:1:{number}", now=NOW + number * MINUTE) for number in range(3)]
    for number in range(3):
        services.send_due(NOW + number * MINUTE)
    held = alerts[2]
    held.refresh_from_db()
    assert held.state == "pending"
    assert "2 SMS per contact within 0 h" in held.held_back
    assert attempts_of(held.pk) == []
    assert abs(held.due_at - (NOW + 10 * MINUTE)) < MINUTE  # when the first one has left the span
    assert services.send_due(NOW + 9 * MINUTE) == 0
    services.send_due(held.due_at + timedelta(seconds=1))
    held.refresh_from_db()
    assert (held.state, held.held_back, len(provider.received)) == ("sent", "", 3)


def test_it_goes_another_way_at_once(
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    mail_relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(monkeypatch, Limit("sms", "account", 1, HOUR))
    add_point("sms", PHONE)
    add_point("email", MAIL)
    first, second = put(contact), put(contact, "outage:1:1")
    services.send_due(NOW)
    assert [attempts_of(one.pk)[0].channel for one in (first, second)] == ["sms", "email"]
    assert not Notification.objects.exclude(held_back="").exists()


def test_a_way_left_out_of_several_at_once_is_said(
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    mail_relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(monkeypatch, Limit("sms", "account", 1, HOUR))
    contact.telling = Contact.Telling.AT_ONCE
    contact.save()
    add_point("sms", PHONE)
    add_point("email", MAIL)
    first, second = put(contact), put(contact, "outage:1:1")
    services.send_due(NOW)
    first.refresh_from_db()
    second.refresh_from_db()
    assert [attempt.channel for attempt in attempts_of(first.pk)] == ["sms", "email"]
    assert [attempt.channel for attempt in attempts_of(second.pk)] == ["email"]
    assert (first.state, first.held_back, second.state) == ("sent", "", "sent")
    assert "1 SMS for the account" in second.held_back


def test_whom_a_limit_is_for(
    account: Account, contact: Contact, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Account.objects.create(name="Other", slug="other")
    demo = Account.objects.create(name="Demo", slug="demo", is_demo=True)
    contacts = [add_contact(one, f"of {one}") for one in (account, account, other, demo)]

    def sent_to(*limits: Limit) -> list[int]:
        """How many of three notifications each of the four contacts was sent."""
        Notification.objects.all().delete()
        limited(monkeypatch, *limits)
        for round_ in range(3):
            for one in contacts:
                put(one, f"{one.pk}:{round_}", "action", what="x", now=NOW)
        services.send_due(NOW)
        return [Attempt.objects.filter(notification__contact=one).count() for one in contacts]

    # The demo's are never limited, nor do they count. Three at a time: nobody overtakes in this test.
    monkeypatch.setattr("notifications.services.sending.FEW", 100)
    assert sent_to(Limit("sms", "contact", 2, HOUR)) == [2, 2, 2, 3]
    assert sent_to(Limit("sms", "account", 4, HOUR)) == [2, 2, 3, 3]
    assert sent_to(Limit("sms", "installation", 4, HOUR)) == [2, 1, 1, 3]
    assert sent_to(Limit("sms", "contact", 1, HOUR, kind="action")) == [1, 1, 1, 3]
    assert sent_to(Limit("sms", "contact", 1, HOUR, kind="outage")) == [3, 3, 3, 3]
    assert sent_to(Limit("email", "contact", 1, HOUR)) == [3, 3, 3, 3]


def test_refusals_do_not_count(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, Limit("sms", "contact", 1, DAY))
    add_point("sms", PHONE)
    notification = put(contact)
    provider.status = 503
    services.send_due(NOW)
    services.send_due(NOW + MINUTE)
    provider.recover()
    services.send_due(NOW + 5 * MINUTE)
    notification.refresh_from_db()
    assert notification.state == "sent"


def test_what_is_held_back_until_it_is_stale_fails_with_the_reason(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, Limit("sms", "contact", 1, DAY))
    add_point("sms", PHONE)
    put(contact, "recovery:0", "recovery", closed=NOW.isoformat())
    services.send_due(NOW)
    late = put(contact, "outage:1:1")
    services.send_due(NOW)
    late.refresh_from_db()
    assert late.due_at <= NOW + HOUR
    services.send_due(late.due_at + MINUTE)
    late.refresh_from_db()
    assert late.state == "failed"
    assert "too old" in late.failure
    assert "1 SMS per contact within 24 h" in late.failure


def test_a_provider_that_asks_for_a_pause_gets_it_from_all(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider, settings: Settings
) -> None:
    settings.ALERT_SMS_URL = provider.twilio_url
    provider.answer_as_twilio(429, 20429, "Too many requests")
    provider.headers["Retry-After"] = "120"
    add_point("sms", PHONE)
    first, second = put(contact), put(add_contact(account, "Paul"), "outage:1:1")
    services.send_due(NOW)
    for waiting in (first, second):
        waiting.refresh_from_db()
    assert len(provider.received) == 1
    assert "asked to wait" in second.held_back
    assert abs(second.due_at - NOW - timedelta(seconds=120)) < timedelta(seconds=30)
    # Its own backoff is over sooner, and still it waits.
    services.send_due(NOW + timedelta(seconds=60))
    assert len(provider.received) == 1
    provider.answer_as_twilio()
    services.send_due(NOW + timedelta(seconds=160))
    assert set(Notification.objects.values_list("state", flat=True)) == {"sent"}
    assert len(provider.received) == 3


def test_an_apps_pause_is_its_own(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider, settings: Settings
) -> None:
    settings.WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    provider.status, provider.headers["Retry-After"] = 429, "99999"
    url = f"webhook+http://0123456789abcdef@127.0.0.1:{provider.port}/"
    add_point("app", url)
    other = Contact.objects.create(account=account, name="Paul")
    add_point("app", url + "paul", contact=other)
    first, second = put(contact), put(other, "outage:1:1")
    services.send_due(NOW)
    provider.recover()
    services.send_due(NOW + 2 * MINUTE)
    assert [attempt.state for attempt in attempts_of(second.pk)] == ["temporary"]
    # Not even a day's pause makes an alert sleep for longer than a quarter of an hour.
    services.send_due(NOW + 17 * MINUTE)
    assert [attempts_of(one.pk)[-1].state for one in (first, second)] == ["sent", "sent"]


def test_the_limits_cost_a_constant_number_of_queries(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, django_assert_max_num_queries: object
) -> None:
    from notifications.services.limits import held_back

    point = add_point("sms", PHONE)
    notification = put(contact)
    with django_assert_max_num_queries(2):  # type: ignore[operator]
        held_back(notification, [point], NOW)
