"""The read-only questions about the queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from delivery import reads
from delivery.models import Attempt, Message, NextHop, Pause, Recipient, Route
from delivery.reads import flow

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
Fixture = Callable[..., Recipient]
pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Example", slug="example")


@pytest.fixture
def hop(account: Account) -> NextHop:
    return make_hop(account)


def make_hop(account: Account, kind: str = Route.Kind.INBOUND, **fields: object) -> NextHop:
    route = Route.objects.create(account=account, name=f"Route {Route.objects.count()}", kind=kind)
    return NextHop.objects.create(**{"route": route, "state_since": NOW, **fields})


def make(hop: NextHop, minutes_ago: float = 0, **fields: object) -> Recipient:
    accepted = NOW - timedelta(minutes=minutes_ago)
    message = Message.objects.create(
        account=hop.route.account, accepted_at=accepted, size=1, client_address="127.0.0.1"
    )
    values = {
        "message": message,
        "next_hop": hop,
        "address": "a@example.org",
        "accepted_at": accepted,
        "next_attempt_at": accepted,
        "expires_at": accepted + timedelta(hours=96),
    }
    return Recipient.objects.create(**(values | fields))


def attempt(
    recipient: Recipient, seconds_ago: float, result: str, reply: str = "", code: int | None = None
) -> None:
    Attempt.objects.create(
        recipient=recipient,
        next_hop=recipient.next_hop,
        at=NOW - timedelta(seconds=seconds_ago),
        duration_ms=1,
        result=result,
        stage="end",
        code=code,
        reply=reply,
    )


def test_queue_figures_count_what_waits_in_any_way_and_nothing_of_another_account(
    account: Account, hop: NextHop
) -> None:
    for minutes, state in enumerate(Recipient.State):
        make(hop, minutes, state=state)
    other = Account.objects.create(name="Other", slug="other")
    make(make_hop(other), 500)
    figures = reads.queue_figures(account.pk)
    oldest = max(list(Recipient.State).index(state) for state in Recipient.WAITING)
    assert figures == reads.QueueFigures(len(Recipient.WAITING), NOW - timedelta(minutes=oldest))


def test_queue_figures_of_an_empty_queue(account: Account) -> None:
    assert reads.queue_figures(account.pk) == reads.QueueFigures(0, None)


def test_the_waiting_are_found_by_the_partial_index(hop: NextHop) -> None:
    """Without it a million delivered recipients would be read to count three that wait."""
    waiting = Recipient.objects.waiting().filter(next_hop=hop)
    if connection.vendor == "sqlite":
        assert "USING COVERING INDEX recipient_" in waiting.values("next_hop").explain()
        assert "recipient_waiting" in waiting.order_by("accepted_at").values("accepted_at").explain()
        queued = Recipient.objects.still_queued().filter(next_hop=hop)
        assert "recipient_expiry" in queued.order_by("expires_at").values("expires_at").explain()
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute("SET LOCAL enable_sort = off")  # what the index is for: its order
        assert "recipient_waiting" in waiting.order_by("accepted_at").explain()


def test_queue_by_route_lists_every_route_with_its_state(account: Account, hop: NextHop) -> None:
    make(hop, 7)
    NextHop.objects.filter(pk=hop.pk).update(state=NextHop.State.DOWN, last_reply="421 Closing")
    outbound = make_hop(account, Route.Kind.OUTBOUND, domain="a.example")
    NextHop.objects.create(route=outbound.route, domain="b.example", state="recovering", state_since=NOW)
    Route.objects.create(account=account, name="Unused")
    found = {route.route_id: route for route in reads.queue_by_route(account.pk)}
    assert len(found) == 3
    down = found[hop.route_id]
    assert (down.queued, down.oldest, down.state, down.last_reply) == (
        1,
        NOW - timedelta(minutes=7),
        "down",
        "421 Closing",
    )
    assert found[outbound.route_id].state == "recovering"


def test_deliveries_are_flowing_then_pausing_then_paused(account: Account, hop: NextHop) -> None:
    assert reads.pause_state(account.pk, NOW) == reads.PauseState("flowing")
    sending = make(hop, state=Recipient.State.SENDING)
    pause = Pause.objects.create(account=account, started_at=NOW - timedelta(minutes=3), started_by="Maria")
    assert reads.pause_state(account.pk, NOW).mode == "pausing"
    Recipient.objects.filter(pk=sending.pk).update(state=Recipient.State.DELIVERED)
    make(make_hop(account, Route.Kind.OUTBOUND), state=Recipient.State.SENDING)
    assert reads.pause_state(account.pk, NOW) == reads.PauseState("paused", pause.started_at, "Maria")
    Pause.objects.update(ended_at=NOW)
    assert reads.pause_state(account.pk, NOW).mode == "flowing"


def test_the_running_clock_leaves_out_all_paused_time(account: Account) -> None:
    assert reads.running_now(account.pk, NOW) == NOW
    hour = timedelta(hours=1)
    Pause.objects.create(account=account, started_at=NOW - 9 * hour, ended_at=NOW - 7 * hour, started_by="M")
    Pause.objects.create(account=account, started_at=NOW - hour, started_by="M")
    assert reads.running_now(account.pk, NOW) == NOW - 3 * hour
    assert reads.running_now(account.pk, NOW + hour) == NOW - 3 * hour, "it stands still while paused"
    assert reads.running_now(account.pk, NOW - 8 * hour) == NOW - 9 * hour
    assert reads.running_now(account.pk, NOW - 10 * hour) == NOW - 10 * hour


def test_nothing_drains_unless_a_hop_recovers_and_has_a_backlog(account: Account, hop: NextHop) -> None:
    make(hop, 5)
    assert reads.drain_progress(account.pk, NOW) is None
    NextHop.objects.update(state=NextHop.State.RECOVERING, backlog_before=NOW - timedelta(minutes=6))
    assert reads.drain_progress(account.pk, NOW) is None, "newer than the backlog"


def test_a_drain_tells_left_rate_and_eta(account: Account, hop: NextHop) -> None:
    NextHop.objects.update(state=NextHop.State.RECOVERING, backlog_before=NOW - timedelta(minutes=1))
    for _ in range(4):
        make(hop, 5)
    make(hop, 5, state=Recipient.State.HELD)
    assert reads.drain_progress(account.pk, NOW) == reads.Drain(4, 0.0, None)
    for seconds in (10, 50, 70):
        final = NOW - timedelta(seconds=seconds)
        make(hop, 5, state=Recipient.State.DELIVERED, final_at=final)
    make(hop, 0, state=Recipient.State.DELIVERED, final_at=NOW)
    assert reads.drain_progress(account.pk, NOW) == reads.Drain(4, 2.0, NOW + timedelta(minutes=2))
    Pause.objects.create(account=account, started_at=NOW, started_by="M")
    assert reads.drain_progress(account.pk, NOW) is None


def test_the_first_bounces_are_told_in_wall_time(account: Account, hop: NextHop) -> None:
    assert reads.expires_first(account.pk, NOW) is None
    make(hop, 60, expires_at=NOW + timedelta(hours=1), state=Recipient.State.DELIVERED)
    make(hop, 60, expires_at=NOW + timedelta(hours=40))
    make(make_hop(account), 60, expires_at=NOW + timedelta(hours=30))
    assert reads.expires_first(account.pk, NOW) == NOW + timedelta(hours=30)
    pause = Pause.objects.create(account=account, started_at=NOW - timedelta(hours=2), started_by="M")
    assert reads.expires_first(account.pk, NOW) is None
    Pause.objects.filter(pk=pause.pk).update(ended_at=NOW - timedelta(hours=1))
    assert reads.expires_first(account.pk, NOW) == NOW + timedelta(hours=31), "the paused hour does not count"


def test_delivery_rates_fall_into_aligned_buckets(account: Account, hop: NextHop) -> None:
    make(hop, 29, state=Recipient.State.DELIVERED, final_at=NOW + timedelta(minutes=1))
    make(hop, 31)
    make(hop, 25 * 60, state=Recipient.State.DELIVERED, final_at=NOW - timedelta(hours=25))
    rates = reads.delivery_rates(account.pk, NOW + timedelta(minutes=2))
    assert len(rates) == 48
    assert [(rate.end - rate.start, rate.start.minute % 30) for rate in rates] == [
        (timedelta(minutes=30), 0)
    ] * 48
    assert [
        (rate.start, rate.accepted, rate.delivered) for rate in rates if rate.accepted + rate.delivered
    ] == [
        (NOW - timedelta(minutes=60), 1, 0),
        (NOW - timedelta(minutes=30), 1, 0),
        (NOW, 0, 1),
    ]


def test_delivery_rates_of_much_mail_count_what_is_over_once(
    account: Account, hop: NextHop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "MUCH", 0)
    monkeypatch.setattr(flow, "_over", {})

    def accepted(minutes: int = 0) -> list[int]:
        rates = reads.delivery_rates(account.pk, NOW + timedelta(minutes=minutes))
        return [rate.accepted for rate in rates[-4:]]

    for minutes in (75, 45, 15):
        make(hop, minutes)
    assert accepted() == [1, 1, 1, 0]
    for minutes in (75, 15, -15):
        make(hop, minutes)
    assert accepted() == [1, 1, 2, 1], "an hour ago is over, half an hour ago may not be"
    assert accepted(30) == [1, 2, 1, 0]
    assert accepted(-60) == [0, 0, 2, 1], "the clock was put back: all is counted anew"


def test_the_account_balances(account: Account, hop: NextHop) -> None:
    assert reads.reconcile_account(account.pk) == reads.Balance(0, 0, 0, 0, 0)
    for state in Recipient.State:
        make(hop, state=state)
    balance = reads.reconcile_account(account.pk)
    assert balance == reads.Balance(8, 1, 1, 1, 5)
    assert balance.balanced


def test_evidence_is_of_the_route_and_the_window_only(account: Account, hop: NextHop) -> None:
    recipient, elsewhere = make(hop), make(make_hop(account))
    assert reads.evidence(hop.route_id, NOW - timedelta(minutes=2), NOW) == reads.Evidence()
    attempt(recipient, 121, "host_failure", "too early")
    attempt(recipient, 120, "delivered", "250 OK")
    attempt(recipient, 90, "host_failure", "refused")
    attempt(recipient, 60.5, "host_failure", "timed out")
    attempt(recipient, 50, "deferred", "450 4.2.2 full", 450)
    attempt(recipient, 40, "refused", "550 5.1.1 who", 550)
    attempt(recipient, 30, "delivered", "250 OK")
    attempt(recipient, 0, "host_failure", "too late")
    attempt(elsewhere, 10, "host_failure", "elsewhere")
    found = reads.evidence(hop.route_id, NOW - timedelta(minutes=2), NOW)
    assert found == reads.Evidence(
        2, 2, NOW - timedelta(seconds=30), NOW - timedelta(seconds=60.5), "timed out"
    )


def test_while_a_route_is_suspect_its_refusals_are_failures(hop: NextHop) -> None:
    recipient = make(hop)
    attempt(recipient, 90, "refused", "550 5.1.1 one who left", 550)
    attempt(recipient, 40, "deferred", "550 5.1.1 who", 550)
    attempt(recipient, 30, "deferred", "450 4.2.2 full", 450)
    NextHop.objects.update(state=NextHop.State.SUSPECT, state_since=NOW - timedelta(seconds=40))
    found = reads.evidence(hop.route_id, NOW - timedelta(minutes=2), NOW)
    assert (found.failures, found.last_failure_reply) == (1, "550 5.1.1 who")


def test_evidence_by_window_is_evidence_of_each_window(account: Account, hop: NextHop) -> None:
    recipient, other = make(hop), make(make_hop(account))
    for seconds in (239.5, 150, 125, 60, 59, 1):
        attempt(recipient, seconds, "delivered" if seconds > 130 else "host_failure", f"{seconds}")
    attempt(other, 150, "host_failure", "other")
    start = NOW - timedelta(minutes=4)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = reads.evidence_by_window([hop.route_id, other.next_hop.route_id], 120, start, NOW)
    assert len(queries) == 2
    windows = [start, start + timedelta(minutes=2)]
    assert set(found) == {
        (hop.route_id, windows[0]),
        (hop.route_id, windows[1]),
        (other.next_hop.route_id, windows[0]),
    }
    for (route_id, at), evidence in found.items():
        assert evidence == reads.evidence(route_id, at, at + timedelta(minutes=2))


def test_mail_that_waits_after_a_failed_attempt(account: Account, hop: NextHop) -> None:
    make(hop)
    ids = [hop.route_id]
    assert reads.routes_with_failed_mail(ids) == set()
    NextHop.objects.update(last_failure_at=NOW)
    assert reads.routes_with_failed_mail(ids) == {hop.route_id}
    NextHop.objects.update(last_success_at=NOW + timedelta(seconds=1))
    assert reads.routes_with_failed_mail(ids) == set()
    NextHop.objects.update(state=NextHop.State.DOWN)
    assert reads.routes_with_failed_mail(ids) == {hop.route_id}
    Recipient.objects.update(state=Recipient.State.HELD)
    assert reads.routes_with_failed_mail(ids) == set(), "held mail would not be tried"
