"""Senders are warned of delay: once, when the account wants it, and never of paused time."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Account
from delivery.models import DeliverySettings, Message, NextHop, Pause, Recipient
from delivery.services import bouncing
from tests.delivery.bounced import field, outbound
from tests.support.couriers import (
    queue,
    running_courier,
)
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


def late(hop: NextHop, at: datetime, **message: object) -> Message:
    return queue(hop, at=at, **({"authentic": True} | message))  # type: ignore[arg-type]


def test_senders_of_outgoing_mail_are_warned_once_after_an_hour(
    server: MailServer, account: Account, hop: NextHop
) -> None:
    now = timezone.now()
    away = NextHop.objects.create(route=outbound(account), domain="far.example", state_since=now)
    message = late(away, now, sender="anna@acme.example", authentic=None)
    late(hop, now)
    assert bouncing.run(now + timedelta(minutes=59)) == 0
    assert bouncing.run(now + timedelta(minutes=61)) == 1
    assert bouncing.run(now + timedelta(minutes=62)) == 0
    assert bouncing.run(now + timedelta(hours=5)) == 0
    report = Message.objects.get(report="delay")
    assert report.report_of == message
    Recipient.objects.filter(message=report).update(next_attempt_at=now)
    Recipient.objects.filter(next_hop=away).update(state="held")
    with running_courier():
        server.wait_until(lambda: any(m.sender == "" for m in server.messages), 10, "the warning")
    (received,) = [message for message in server.messages if message.sender == ""]
    assert field(received, "Action") == ["delayed"]
    assert field(received, "Will-Retry-Until")
    assert message.recipients.get().state == "held", "a warning ends nothing"


@pytest.mark.parametrize(
    ("minutes", "notify", "authentic", "state", "warned"),
    [
        (30, "", True, "queued", True),
        (30, "DELAY", True, "queued", True),
        (30, "FAILURE", True, "queued", False),
        (30, "NEVER", True, "queued", False),
        (30, "", False, "queued", False),
        (30, "", True, "delivered", False),
        (30, "", True, "expired", False),
        (None, "", True, "queued", False),
    ],
)
def test_who_is_warned_of_incoming_mail(
    account: Account,
    hop: NextHop,
    minutes: int | None,
    notify: str,
    authentic: bool,
    state: str,
    warned: bool,
) -> None:
    outbound(account)
    DeliverySettings.objects.create(account=account, warn_inbound_minutes=minutes)
    now = timezone.now()
    message = late(hop, now, authentic=authentic)
    message.recipients.update(notify=notify, state=state, next_attempt_at=now + timedelta(hours=1))
    bouncing.run(now + timedelta(minutes=31))
    assert Message.objects.filter(report="delay").count() == warned


def test_paused_time_is_no_delay(account: Account, hop: NextHop) -> None:
    outbound(account)
    DeliverySettings.objects.create(account=account, warn_inbound_minutes=30)
    now = timezone.now()
    late(hop, now)
    pause = Pause.objects.create(account=account, started_at=now + timedelta(minutes=10), started_by="x")
    assert bouncing.run(now + timedelta(hours=2)) == 0
    pause.ended_at = now + timedelta(hours=2)
    pause.save()
    assert bouncing.run(now + timedelta(hours=2, minutes=19)) == 0
    assert bouncing.run(now + timedelta(hours=2, minutes=21)) == 1


def test_two_at_once_warn_once(account: Account, hop: NextHop) -> None:
    outbound(account)
    DeliverySettings.objects.create(account=account, warn_inbound_minutes=30)
    now, barrier = timezone.now(), threading.Barrier(2)
    for _ in range(60):
        late(hop, now - timedelta(hours=1))

    def warn() -> None:
        try:
            barrier.wait(10)
            bouncing.run(now)
        finally:
            connection.close()

    threads = [threading.Thread(target=warn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    bouncing.run(now)
    assert Message.objects.filter(report="delay").count() == 60


def test_many_late_messages_are_warned_about_in_batches(account: Account, hop: NextHop) -> None:
    outbound(account)
    DeliverySettings.objects.create(account=account, warn_inbound_minutes=30)
    now = timezone.now()
    for place in range(130):
        late(hop, now - timedelta(minutes=31, seconds=place // 60))
    late(hop, now - timedelta(hours=50))
    assert bouncing.run(now) == 131
    assert Message.objects.filter(report="delay").values("report_of").distinct().count() == 131
