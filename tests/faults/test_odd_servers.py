"""Mail servers that hang, babble, crawl or die amid a transaction: no mail is lost, none is given up for it,
and nobody else waits for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from accounts.models import Account
from delivery.courier.transaction import Timeouts
from delivery.models import Attempt, NextHop, Recipient, Route, RouteHost
from delivery.services import ensure_next_hop
from tests.faults import odd_server as odd
from tests.faults.odd_server import Oddity, OddServer, saying
from tests.support.couriers import (
    QUICK,
    all_delivered,
    content,
    eventually,
    make_account,
    make_hop,
    queue,
    queue_many,
    running_courier,
)
from tests.support.mailserver import MailServer
from tests.support.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

BABBLE = 16 * 1024 * 1024  # bytes of an endless reply that a connection's socket buffers hold at most


@pytest.fixture
def server() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture
def account() -> Account:
    return make_account()


def hop_to(account: Account, server: OddServer, **route: object) -> NextHop:
    options = {"canary_first_seconds": 0.2, "canary_max_seconds": 0.4} | route
    made = Route.objects.create(account=account, name="odd", **options)
    RouteHost.objects.create(route=made, hostname="127.0.0.1", port=server.port)
    return ensure_next_hop(made)


@pytest.mark.parametrize(
    ("stage", "oddity"),
    [
        pytest.param("banner", odd.endless_line, id="an endless banner"),
        pytest.param("banner", odd.endless_reply, id="a banner of endless lines"),
        pytest.param("banner", saying(b"554 5.3.2 No service here\r\n"), id="5xx at connect"),
        pytest.param("banner", saying(b"\x16\x03\x01\xff\r\n"), id="a banner that is not SMTP"),
        pytest.param("mail", odd.byte_by_byte(b"250 2.1.0 Sender taken\r\n", 0.1), id="a reply byte by byte"),
        pytest.param("mail", saying(b"-12 what\r\n"), id="a negative code to MAIL"),
        pytest.param("rcpt", saying(b"999 what\r\n"), id="a code beyond all codes to RCPT"),
        pytest.param("data", saying(b"hello\r\n"), id="garbage to DATA"),
        pytest.param("body", odd.reset, id="reset amid the content"),
        pytest.param("body", odd.deaf, id="reads no content"),
        pytest.param("body", odd.endless_bytes, id="babbles into the content"),
        pytest.param("end", saying(b"\x00\x00\x00\r\n"), id="garbage after the content"),
        pytest.param("end", odd.endless_reply, id="endless lines after the content"),
    ],
)
def test_it_is_the_servers_trouble_and_not_the_mails(
    server: OddServer, account: Account, stage: str, oddity: Oddity
) -> None:
    hop = hop_to(account, server)
    message_id = "precious@test"
    lines = 10_000 if stage == "body" else 10  # more than fits into socket buffers, and quickly read
    message = queue(hop, data=content(message_id, (b"x" * 798 + b"\r\n") * lines))
    server.oddity = (stage, oddity)
    with MailServer() as healthy, running_courier():
        eventually(Attempt.objects.filter(next_hop=hop).exists, "an attempt")
        quick = make_hop(make_account("other"), healthy)
        queue_many(quick, 20)
        healthy.wait_for(20)
        eventually(lambda: Attempt.objects.filter(next_hop=hop).count() >= 4, "it is down and tried again")
        assert server.said < server.connections * BABBLE, "the courier hangs up"
        wait_until(lambda: server.clients() <= 1, "it leaves no connection behind")
        server.behave()
        eventually(lambda: all_delivered(hop), "delivered in the end", 20)
    recipient = message.recipients.get()
    assert (recipient.faults, recipient.attempts) == (0, 1)
    assert server.arrived == {f"<{message_id}>": 1}
    tries = list(Attempt.objects.filter(next_hop=hop).order_by("pk").values_list("result", "code"))
    assert {result for result, _ in tries[:-1]} == {"host_failure"}
    assert all(code is None or 100 <= code <= 999 for _, code in tries)


def test_taken_and_then_reset_before_the_250_arrives_twice_and_never_less(
    server: OddServer, account: Account
) -> None:
    """No SMTP client can know: the second copy has the same Message-ID, the attempt tells what is known."""
    hop = hop_to(account, server)
    ids = queue_many(hop, 5)
    server.oddity = ("end", odd.kept_and_reset)
    with running_courier():
        eventually(lambda: bool(server.arrived), "one was taken")
        server.behave()
        eventually(lambda: all_delivered(hop), "delivered")
    assert set(server.arrived) == set(ids)
    unknown = Attempt.objects.filter(result="host_failure")
    in_flight = set(unknown.values_list("recipient__message__message_id", flat=True))
    assert set(unknown.values_list("stage", "code")) == {("end", None)}
    assert {message_id for message_id, count in server.arrived.items() if count > 1} <= in_flight
    assert sum(server.arrived.values()) == len(ids) + unknown.count()


def test_a_late_answer_to_the_content_is_waited_for_while_other_mail_flows(account: Account) -> None:
    """Given up before, the server would have the message, and get it again and again."""
    timeouts = dataclasses.replace(QUICK, end=20)
    with MailServer() as server:
        hop = make_hop(account, server, max_connections=4)
        (late,) = queue_many(hop, 1)
        server.reply("end", "", delay=3, times=1)  # far longer than any other time-out
        with running_courier(timeouts):
            eventually(Recipient.objects.filter(state="sending").exists, "it is being sent")
            server.wait_until(lambda: "DATA" in server.commands)
            others = queue_many(hop, 40)
            server.wait_for(40)
            assert set(server.count_by_message_id()) == set(others), "the others did not wait for it"
            eventually(lambda: all_delivered(hop), "all delivered")
    assert server.count_by_message_id() == dict.fromkeys([late, *others], 1)
    assert set(Attempt.objects.values_list("result", flat=True)) == {"delivered"}


def test_the_time_outs_of_the_content_are_those_of_rfc_5321() -> None:
    """4.5.3.2: 2 minutes for DATA, 3 for each block, 10 for the answer to the end of data."""
    given = Timeouts()
    assert given.data >= 2 * 60
    assert given.block >= 3 * 60
    assert given.end >= 10 * 60
