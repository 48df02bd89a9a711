"""Storing a batch: all of it or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError

from delivery.models import DeliverySettings, Message, MessageContent, NextHop, Pause, Recipient, Route
from delivery.services import NewMessage, NewRecipient, accept, ensure_next_hop
from tests.support.gateway import account

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(hop: NextHop, *to: str, data: bytes | bytearray = b"x\r\n") -> NewMessage:
    return NewMessage(
        account_id=hop.route.account_id,
        sender="bob@else.example",
        data=data,
        recipients=[NewRecipient(address, hop.pk) for address in to],
        client_address="192.0.2.1",
    )


def test_a_batch_is_stored_with_content_and_recipients_in_order() -> None:
    hop = ensure_next_hop(Route.objects.get(account=account()))
    every_byte = bytes(range(256)) * 5
    accept([message(hop, "a@x", "b@x", data=every_byte), message(hop, "c@x", data=bytearray(b""))], now=NOW)

    first, second = Message.objects.order_by("pk")
    assert (first.accepted_at, first.size, second.size) == (NOW, 1280, 0)
    assert bytes(first.content.data) == every_byte
    assert bytes(second.content.data) == b""
    assert [r.address for r in first.recipients.order_by("pk")] == ["a@x", "b@x"]
    for recipient in Recipient.objects.all():
        assert recipient.state == Recipient.State.QUEUED
        assert recipient.accepted_at == recipient.next_attempt_at == NOW
        assert recipient.expires_at == NOW + timedelta(hours=96)


def test_expiry_is_on_the_running_clock_of_the_account() -> None:
    one, two = account("one"), account("two")
    DeliverySettings.objects.create(account=two, queue_hours=10)
    Pause.objects.create(account=one, started_at=NOW - timedelta(hours=7), ended_at=NOW - timedelta(hours=2))
    hops = [ensure_next_hop(Route.objects.get(account=made)) for made in (one, two)]

    accept([message(hops[0], "a@x"), message(hops[1], "b@x")], now=NOW)

    assert Recipient.objects.get(address="a@x").expires_at == NOW + timedelta(hours=96 - 5)
    assert Recipient.objects.get(address="b@x").expires_at == NOW + timedelta(hours=10)


@pytest.mark.django_db(transaction=True)
def test_one_message_that_cannot_be_stored_leaves_nothing_of_the_batch() -> None:
    hop = ensure_next_hop(Route.objects.get(account=account()))
    lost = message(hop, "b@x")
    lost = NewMessage(999_999, "", b"", lost.recipients, "192.0.2.1")

    with pytest.raises(IntegrityError):
        accept([message(hop, "a@x"), lost], now=NOW)

    assert not Message.objects.exists()
    assert not MessageContent.objects.exists()
    assert not Recipient.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_large_batch_takes_few_statements(django_assert_max_num_queries: object) -> None:
    hop = ensure_next_hop(Route.objects.get(account=account()))
    batch = [message(hop, "a@x", "b@x") for _ in range(300)]
    assert callable(django_assert_max_num_queries)
    with django_assert_max_num_queries(40):
        accept(batch, now=NOW)
    assert Recipient.objects.count() == 600


def test_the_next_hop_of_a_route_is_made_once() -> None:
    route = Route.objects.get(account=account())
    assert ensure_next_hop(route) == ensure_next_hop(route)
    assert NextHop.objects.get().domain == ""
