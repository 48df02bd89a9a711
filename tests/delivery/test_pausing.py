"""Inbound deliveries are held back, and flow again as in a recovery."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, AlreadyDone, Refused
from delivery.models import NextHop, Pause, Recipient
from delivery.reads import pause_state, running_now
from delivery.services import claims, hops
from delivery.services.pausing import pause, resume
from tests.support.couriers import (
    all_delivered,
    eventually,
    make_account,
    make_hop,
    queue,
    queue_many,
    running_courier,
    states,
)
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


def test_pausing_and_resuming_are_audited_and_refused_where_they_make_no_sense(account: Account) -> None:
    with pytest.raises(Refused, match="not paused"):
        resume(account.pk, SCHEDULER)
    started = pause(account.pk, SCHEDULER, reason="moving house", request_key="once")
    with pytest.raises(AlreadyDone):
        pause(account.pk, SCHEDULER, request_key="once")
    with pytest.raises(Refused, match="paused already"):
        pause(account.pk, SCHEDULER)
    ended = resume(account.pk, SCHEDULER)
    assert (ended.pk, ended.started_by, ended.ended_by) == (started.pk, "Continuity", "Continuity")
    assert list(AuditEntry.objects.order_by("number").values_list("action", "reason")) == [
        ("pause.started", "moving house"),
        ("pause.ended", ""),
    ]


def test_while_paused_nothing_is_taken_and_what_is_in_flight_finishes(
    account: Account, server: MailServer
) -> None:
    hop = make_hop(account, server, max_connections=1)
    elsewhere = make_hop(make_account("other"), server, name="other")
    server.reply("end", "", times=1, delay=0.4)
    queue_many(hop, 12)
    with running_courier():
        server.wait_until(lambda: "DATA" in server.commands, what="a message on its way")
        pause(account.pk, SCHEDULER)
        assert pause_state(account.pk, timezone.now()).mode == "pausing"
        eventually(lambda: pause_state(account.pk, timezone.now()).mode == "paused", "paused")
        delivered = states(hop)["delivered"]
        assert delivered >= 1
        queue_many(elsewhere, 3)
        eventually(lambda: all_delivered(elsewhere), "the other account delivered")
        assert states(hop)["delivered"] == delivered
        resume(account.pk, SCHEDULER)
        hop.refresh_from_db()
        eventually(all_delivered, "drained")
        eventually(lambda: NextHop.objects.get(pk=hop.pk).state == "up", "up")
    actions = list(
        AuditEntry.objects.filter(account=account).order_by("number").values_list("action", flat=True)
    )
    expected = ["pause.started", "pause.ended"]
    assert actions == ([*expected, "route.recovering", "route.up"] if delivered < 12 else expected)


def test_a_backlog_drains_as_in_recovery_but_a_dead_server_stays_dead(
    account: Account, server: MailServer
) -> None:
    busy, idle, dead = (make_hop(account, server, name=name) for name in ("busy", "idle", "dead"))
    NextHop.objects.filter(pk=dead.pk).update(state="down")
    queue(busy)
    queue(dead)
    pause(account.pk, SCHEDULER)
    assert claims.flowing(timezone.now(), hops.Memory()) == []
    assert claims.claim(busy.pk, "me", 5, timezone.now()) == []
    resume(account.pk, SCHEDULER)
    for hop in (busy, idle, dead):
        hop.refresh_from_db()
    assert [hop.state for hop in (busy, idle, dead)] == ["recovering", "up", "down"]
    assert (busy.connections, busy.backlog_before) == (1, Pause.objects.get().ended_at)


def test_paused_time_does_not_age_mail(account: Account, server: MailServer) -> None:
    now = timezone.now()
    hop = make_hop(account, server)
    server.reply("rcpt", "450 4.2.2 full")
    queue(hop, at=now - timedelta(hours=97))
    pause(account.pk, SCHEDULER, now=now - timedelta(hours=90))
    resume(account.pk, SCHEDULER, now=now - timedelta(hours=1))
    assert running_now(account.pk, now) == now - timedelta(hours=89)
    with running_courier():
        eventually(lambda: Recipient.objects.filter(attempts=1).exists(), "an attempt")
    recipient = Recipient.objects.get()
    assert recipient.state == "queued"
    assert timedelta(minutes=50) < recipient.next_attempt_at - now < timedelta(hours=2)


def test_the_outbound_route_is_not_held(account: Account, server: MailServer) -> None:
    hop = make_hop(account, server, kind="outbound")
    queue(hop)
    pause(account.pk, SCHEDULER)
    with running_courier():
        eventually(all_delivered, "delivered")
