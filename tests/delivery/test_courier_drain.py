"""A mail server that throttles is drained at about the rate that it wants, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from delivery.models import Attempt, NextHop, Recipient
from tests.support.couriers import (
    QUICK,
    eventually,
    make_account,
    make_hop,
    queue_many,
    running_courier,
    states,
)
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        server.reply("end", "", delay=0.02)
        yield server


@pytest.mark.parametrize("stage", ["banner", "mail", "rcpt"])
def test_the_drain_finds_the_rate_that_the_server_wants(server: MailServer, stage: str) -> None:
    hop = make_hop(make_account(), server, max_connections=20)
    ids = queue_many(hop, 240)
    now = timezone.now()
    # It is hours old: by its age alone, what is put off would wait for hours.
    Recipient.objects.update(accepted_at=now - timedelta(hours=5), expires_at=now + timedelta(hours=91))
    NextHop.objects.filter(pk=hop.pk).update(state="recovering", connections=1, backlog_before=now)
    server.busy_above, server.busy_at = 4, stage
    with running_courier(replace(QUICK, command=5, end=5)):
        tried = Recipient.objects.filter(attempts__gt=0)
        eventually(lambda: tried.count() == 240, "all tried", seconds=60)
    hop.refresh_from_db()
    assert states(hop)["delivered"] >= 180
    assert states(hop).get("queued", 0) == 240 - states(hop)["delivered"]
    if states(hop).get("queued"):
        assert hop.state == "recovering", "what was put off belongs to the backlog"
    assert 1 <= hop.connections <= 12
    assert server.throttled, "it was never asked too much"
    assert server.throttled <= 60, "it was asked too much again and again"
    assert not AuditEntry.objects.filter(action="route.down").exists()
    assert server.count_by_message_id() == dict.fromkeys(server.count_by_message_id(), 1)
    assert set(server.count_by_message_id()) <= set(ids)
    late = Recipient.objects.filter(state="queued", attempts=1)
    assert not late.filter(next_attempt_at__gt=timezone.now() + timedelta(seconds=61)).exists()
    assert Attempt.objects.filter(code__in=(421, 451)).count() == server.throttled


def test_a_server_that_is_up_and_asks_for_less_gets_fewer_connections(server: MailServer) -> None:
    hop = make_hop(make_account(), server, max_connections=20)
    queue_many(hop, 240)
    server.busy_above, server.busy_at = 4, "rcpt"
    with running_courier(replace(QUICK, command=5, end=5)):
        tried = Recipient.objects.filter(attempts__gt=0)
        eventually(lambda: tried.count() == 240, "all tried", seconds=60)
    hop.refresh_from_db()
    assert hop.state == "up"
    assert 0 < server.throttled <= 160, "with 20 connections it would have been four of five"
