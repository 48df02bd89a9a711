"""The outbox, with a real relay and a real provider: what is sent, tried again, given up, and how often."""

from __future__ import annotations

import threading
from datetime import timedelta

import django_rq
import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from rq import SimpleWorker

from accounts.models import Account, AuditEntry, Contact, MailDomain
from accounts.services import SCHEDULER, Refused, decision
from notifications import services
from notifications.models import Attempt, ContactPoint, DemoMessage, Notification
from notifications.reads import attempts_of, latest_alerts, reachability
from notifications.rules import STUCK_AFTER
from tests.notifications.conftest import FACTS, LINK, NOW, AddPoint, put
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

MAIL = "maria@elsewhere.example"
PHONE = "+4915123456789"


def states(notification: Notification) -> list[tuple[str, str, bool]]:
    return [(attempt.channel, attempt.state, attempt.repeat) for attempt in attempts_of(notification.pk)]


def test_the_first_point_is_used_and_the_providers_words_are_kept(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    add_point("email", MAIL)
    add_point("sms", PHONE)
    notification = put(contact)
    assert services.send_due(NOW) == 1
    assert services.send_due(NOW) == 0
    notification.refresh_from_db()
    assert notification.state == "sent"
    assert notification.sent_at is not None
    assert states(notification) == [("email", "sent", False)]
    assert attempts_of(notification.pk)[0].provider_reply == "250 2.0.0 Ok: queued as 4XyZ"
    assert [mail.recipients for mail in mail_relay.received] == [(MAIL,)]
    assert LINK in mail_relay.received[0].text
    assert not provider.received
    assert not AuditEntry.objects.exists()
    assert [latest.pk for latest in latest_alerts(contact.account_id)] == [notification.pk]


def test_the_link_is_stored_nowhere(contact: Contact, add_point: AddPoint, provider: SmsProvider) -> None:
    provider.status, provider.answer = 500, f"content blocked: {LINK}".encode()
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    notification.refresh_from_db()
    assert "AbCdEfGhIjKlMnOpQrStUv" not in repr(notification.context)
    reply = attempts_of(notification.pk)[0].provider_reply
    assert "AbCdEfGhIjKlMnOpQrStUv" not in reply
    assert "500" in reply
    assert "content blocked" in reply


def test_what_is_in_the_outbox_is_not_put_there_again(contact: Contact) -> None:
    put(contact)
    with decision(contact.account_id, SCHEDULER, now=NOW) as made:
        assert services.notify(made, contact, "outage", FACTS, "outage:1:0") is None
        assert services.notify(made, contact, "outage", FACTS, "outage:1:1") is not None
    assert Notification.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_refused_decision_leaves_nothing_in_outbox_or_queue(contact: Contact) -> None:
    queue = django_rq.get_queue("alerts")
    queue.delete()

    def refused() -> None:
        with decision(contact.account_id, SCHEDULER, now=NOW) as made:
            services.notify(made, contact, "outage", FACTS, "outage:1:0")
            raise Refused("not now")

    with pytest.raises(Refused):
        refused()
    assert not Notification.objects.exists()
    assert queue.count == 0


@pytest.mark.django_db(transaction=True)
def test_a_worker_sends_it_as_soon_as_it_is_committed(
    contact: Contact, add_point: AddPoint, mail_relay: Relay
) -> None:
    add_point("email", MAIL)
    queue = django_rq.get_queue("alerts")
    queue.delete()
    put(contact, now=timezone.now())
    SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="ERROR")
    assert len(mail_relay.received) == 1
    assert Notification.objects.get().state == "sent"


@pytest.mark.django_db(transaction=True)
def test_without_redis_the_decision_stands_and_the_sweep_sends(
    contact: Contact,
    add_point: AddPoint,
    mail_relay: Relay,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The real refusal of a Redis that is away.
    monkeypatch.setitem(settings.RQ_QUEUES, "alerts", {"URL": "redis://127.0.0.1:1/0"})
    add_point("email", MAIL)
    put(contact)
    assert services.send_due(NOW) == 1
    assert len(mail_relay.received) == 1


def test_a_temporary_failure_goes_to_the_next_point_at_once(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    mail_relay.at_rcpt = "451 4.7.1 Greylisted"
    add_point("email", MAIL)
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    assert states(notification) == [("email", "temporary", False), ("sms", "sent", False)]
    assert provider.received[0].path == "/sms/4915123456789"
    assert not ContactPoint.objects.exclude(disabled_at=None).exists()


def test_a_permanent_failure_disables_the_point_and_goes_on(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    mail_relay.at_rcpt = "550 5.1.1 No such user"
    point = add_point("email", MAIL)
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    assert states(notification) == [("email", "permanent", False), ("sms", "sent", False)]
    point.refresh_from_db()
    assert point.disabled_at is not None
    assert "No such user" in point.disabled_reason
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject) == ("contact_point.disabled", f"contact_point:{point.pk}")
    [reach] = reachability(contact.account)
    assert reach.readiness.reached
    assert [way.id for way in reach.readiness.broken] == [point.pk]
    assert point.disabled_reason.rstrip(".") in reach.sentence
    # It stays so.
    put(contact, "outage:1:1")
    services.send_due(NOW)
    assert len(mail_relay.refused) == 1


def test_when_all_fail_it_is_tried_again_with_backoff_until_it_is_stale(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    mail_relay.at_rcpt = "451 4.3.0 Try later"
    provider.status = 503
    add_point("email", MAIL)
    add_point("sms", PHONE)
    notification = put(contact)
    now, waits = NOW, []
    while True:
        assert services.send_due(now) == 1
        notification.refresh_from_db()
        if notification.state != "pending":
            break
        assert services.send_due(notification.due_at - timedelta(seconds=1)) == 0
        waits.append(round((notification.due_at - now).total_seconds()))
        now = notification.due_at
    assert waits[:6] == pytest.approx([30, 60, 120, 300, 600, 900], abs=20)  # the clock goes on meanwhile
    assert notification.state == "failed"
    assert "too old" in notification.failure
    assert now - NOW == timedelta(minutes=60)
    assert len(provider.received) == len(mail_relay.refused) == len(waits)


def test_it_is_sent_as_soon_as_a_provider_takes_it(
    contact: Contact, add_point: AddPoint, provider: SmsProvider
) -> None:
    provider.status = 503
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    provider.recover()
    services.send_due(NOW + timedelta(seconds=31))
    assert states(notification) == [("sms", "temporary", False), ("sms", "sent", False)]


@pytest.mark.parametrize("lacking", ["none", "unverified", "disabled", "inactive contact"])
def test_without_a_usable_point_it_fails_at_once_with_the_reason(
    lacking: str, contact: Contact, add_point: AddPoint, mail_relay: Relay
) -> None:
    if lacking == "unverified":
        add_point("email", MAIL, verified_at=None)
    elif lacking == "disabled":
        add_point("email", MAIL, disabled_at=NOW)
    elif lacking == "inactive contact":
        add_point("email", MAIL)
        Contact.objects.update(active=False)
        contact.refresh_from_db()
    notification = put(contact)
    services.send_due(NOW)
    notification.refresh_from_db()
    assert notification.state == "failed"
    assert ("not active" if lacking == "inactive contact" else "no contact point") in notification.failure
    assert not mail_relay.received


def test_an_alert_found_too_late_is_not_sent(
    contact: Contact, add_point: AddPoint, mail_relay: Relay
) -> None:
    add_point("email", MAIL)
    alert, recovery = put(contact), put(contact, "recovery:1", "recovery", closed=NOW.isoformat())
    services.send_due(NOW + timedelta(minutes=60))
    alert.refresh_from_db()
    recovery.refresh_from_db()
    assert (alert.state, recovery.state) == ("failed", "sent")


def test_an_address_that_came_to_be_in_band_is_not_used(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    point = add_point("email", MAIL)
    add_point("sms", PHONE)
    MailDomain.objects.create(account=contact.account, name="elsewhere.example")
    notification = put(contact)
    services.send_due(NOW)
    point.refresh_from_db()
    assert "elsewhere.example" in point.disabled_reason
    assert states(notification) == [("sms", "sent", False)]


def test_a_silent_provider_is_not_asked_over_and_over(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.transports.apprise_.ANSWER_SECONDS", 0.2)
    provider.hang()
    add_point("sms", PHONE)
    notification = put(contact)
    for minute in range(0, 70, 5):
        services.send_due(NOW + timedelta(minutes=minute))
    notification.refresh_from_db()
    assert states(notification) == [("sms", "unknown", False), ("sms", "unknown", True)]
    assert notification.state == "failed"
    assert "not known whether it arrived" in notification.failure
    assert ["(Repeat)" in message.text for message in provider.received] == [False, True]


def test_an_alert_goes_out_even_when_no_link_can_be_had(
    contact: Contact,
    add_point: AddPoint,
    mail_relay: Relay,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_notification: Notification, _now: object) -> str:
        raise RuntimeError

    monkeypatch.setattr("notifications.services.links._resolver", broken)
    add_point("email", MAIL)
    put(contact)
    services.send_due(NOW)
    assert len(mail_relay.received) == 1
    assert "no manage link" in caplog.text


def test_a_kind_without_text_is_shown_as_failed_and_stops_nothing_else(
    contact: Contact, add_point: AddPoint, mail_relay: Relay
) -> None:
    add_point("email", MAIL)
    broken, good = put(contact, "x", "nonsense"), put(contact)
    services.send_due(NOW)
    broken.refresh_from_db()
    good.refresh_from_db()
    assert (broken.state, good.state) == ("failed", "sent")
    assert "nonsense" in broken.failure


def test_nothing_of_a_demo_account_leaves(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    Account.objects.update(is_demo=True)
    MailDomain.objects.create(account=contact.account, name="elsewhere.example")
    for channel, address in (("email", MAIL), ("sms", PHONE), ("app", provider.app_url)):
        ContactPoint.objects.all().delete()
        add_point(channel, address)
        put(contact, channel)
        services.send_due(NOW)
    kept = DemoMessage.objects.order_by("pk")
    assert [message.channel for message in kept] == ["email", "sms", "app"]
    assert all(LINK in message.text for message in kept)
    assert LINK in kept[0].html
    assert not mail_relay.received
    assert not provider.received


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_send_each_once(account: Account, provider: SmsProvider) -> None:
    for number in range(24):
        contact = Contact.objects.create(account=account, name=f"Contact {number}")
        ContactPoint.objects.create(
            contact=contact, channel="sms", address=f"+49151234567{number:02}", verified_at=NOW
        )
        put(contact, f"outage:1:{number}")
    counts: list[int] = []

    def sweep() -> None:
        try:
            counts.append(services.send_due(NOW))
        finally:
            connection.close()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(counts) == 24
    assert sorted(message.path[-2:] for message in provider.received) == [f"{n:02}" for n in range(24)]
    assert Notification.objects.filter(state="sent").count() == Attempt.objects.count() == 24


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_was_taken_over_changes_nothing_any_more(
    contact: Contact, add_point: AddPoint, mail_relay: Relay, provider: SmsProvider
) -> None:
    """A sender that was only slow, not dead: its row was swept while it waited for the provider."""
    add_point("sms", PHONE)
    add_point("email", MAIL)
    notification = put(contact)
    provider.hang()

    def send() -> None:
        try:
            services.send(notification.pk, NOW)
        finally:
            connection.close()

    slow = threading.Thread(target=send)
    slow.start()
    assert provider.got.wait(10)
    assert services.send_due(NOW + STUCK_AFTER + timedelta(seconds=5)) == 1
    assert states(notification) == [("sms", "unknown", False), ("email", "sent", False)]
    provider.recover()
    slow.join(30)
    assert not slow.is_alive()
    assert Notification.objects.get().state == "sent"
    assert len(mail_relay.received) == len(provider.received) == 1


def test_the_settings_that_are_missing_are_named(
    contact: Contact, add_point: AddPoint, settings: Settings
) -> None:
    settings.ALERT_EMAIL_URL = settings.ALERT_SMS_URL = ""
    add_point("email", MAIL)
    add_point("sms", PHONE)
    notification = put(contact)
    services.send_due(NOW)
    notification.refresh_from_db()
    assert notification.state == "pending"
    words = [attempt.provider_reply for attempt in attempts_of(notification.pk)]
    assert ["ALERT_EMAIL_URL" in words[0], "ALERT_SMS_URL" in words[1]] == [True, True]
