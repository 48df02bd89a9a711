"""A process is killed between the provider's acceptance and our commit."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from accounts.models import Contact
from notifications import services
from notifications.models import Notification
from notifications.reads import attempts_of
from notifications.rules import STUCK_AFTER
from tests.notifications.conftest import NOW, AddPoint, in_flight, put
from tests.support.processes import Process
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

LATER = NOW + STUCK_AFTER + timedelta(seconds=30)
SEND = (
    "import datetime; from notifications import services; "
    "services.send({}, datetime.datetime.fromisoformat({!r}))"
)


def killed_while_sending(
    notification: Notification, provider: SmsProvider, database_url: str, tmp_path: Path
) -> None:
    """A real process claims and sends; it is killed when the provider has the message."""
    provider.got.clear()
    provider.hang()
    code = SEND.format(notification.pk, NOW.isoformat())
    environment = os.environ | {"DATABASE_URL": database_url, "ALERT_SMS_URL": provider.sms_url}
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    process = Process("sender", command, environment, tmp_path / "sender.log")
    try:
        assert provider.got.wait(30), process.log()
    finally:
        process.kill()
    provider.recover()


def states(notification: Notification) -> list[tuple[str, str, bool]]:
    return [(attempt.channel, attempt.state, attempt.repeat) for attempt in attempts_of(notification.pk)]


def test_it_falls_through_to_the_next_point(
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    mail_relay: Relay,
    database_url: str,
    tmp_path: Path,
) -> None:
    add_point("sms", "+4915123456789")
    add_point("email", "maria@elsewhere.example")
    notification = put(contact)
    killed_while_sending(notification, provider, database_url, tmp_path)
    assert services.send_due(NOW + timedelta(seconds=60)) == 0
    assert services.send_due(LATER) == 1
    assert states(notification) == [("sms", "unknown", False), ("email", "sent", False)]
    assert (len(provider.received), len(mail_relay.received)) == (1, 1)
    assert services.send_due(LATER + timedelta(hours=1)) == 0


@pytest.mark.parametrize("again", [False, True])
def test_without_another_point_it_is_repeated_once_and_marked(
    again: bool,
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_point("sms", "+4915123456789")
    notification = put(contact)
    killed_while_sending(notification, provider, database_url, tmp_path)
    if again:  # the provider never answers the repeat either
        monkeypatch.setattr("notifications.transports.apprise_.ANSWER_SECONDS", 0.2)
        provider.hang()
    for minutes in range(0, 120, 10):
        services.send_due(LATER + timedelta(minutes=minutes))
    last = "unknown" if again else "sent"
    assert states(notification) == [("sms", "unknown", False), ("sms", last, True)]
    assert ["(Repeat)" in message.text for message in provider.received] == [False, True]
    notification.refresh_from_db()
    assert notification.state == ("failed" if again else "sent")


def test_a_crash_before_anything_was_sent_repeats_nothing(
    contact: Contact, add_point: AddPoint, provider: SmsProvider
) -> None:
    """The claim was committed, the attempt was not: nobody can have got anything."""
    add_point("sms", "+4915123456789")
    notification = put(contact)
    Notification.objects.update(state="sending", claimed_at=NOW)
    assert services.send_due(LATER) == 1
    assert states(notification) == [("sms", "sent", False)]


@pytest.mark.django_db(transaction=True)
def test_a_lost_database_connection_does_not_lose_the_result(
    contact: Contact, add_point: AddPoint, provider: SmsProvider
) -> None:
    """The database server ends the sender's connection while the provider thinks: as in a restart."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection that could be lost")
    add_point("sms", "+4915123456789")
    notification = put(contact)
    with in_flight(notification, provider), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    assert states(notification) == [("sms", "sent", False)]
    notification.refresh_from_db()
    assert notification.state == "sent"
