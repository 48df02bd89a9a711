"""The courier delivers over real sockets, and each recipient has its own result."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from accounts.models import Account, AuditEntry
from delivery.models import Attempt, KnownRecipient, MessageContent, NextHop, Recipient
from tests.support.couriers import (
    QUICK,
    all_delivered,
    eventually,
    make_account,
    make_hop,
    queue,
    queue_many,
    running_courier,
    states,
)
from tests.support.mailserver import CLOSE, HANG, MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "data",
    [
        b"Subject: plain\r\n\r\nHello\r\n",
        b"..\r\n.\r\n..\r\n.a\r\n\r\n.\r\n",
        b"Subject: x\r\n\r\n\r\n.\r\n\r\n",
        b"Subject: 8bit\r\n\r\n\xff\xfe\x00 \xe4\r\n",
        b"Subject: long\r\n\r\n" + b"x" * 200_000 + b"\r\n",
        b"no header at all\r\n",
        b"Subject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 60_000,
        b"Subject: bare\r\n\r\none\ntwo\rthree\r\n",
        b"\r\n",
    ],
    ids=[
        "plain",
        "dots",
        "dot at the end",
        "8-bit",
        "long line",
        "no header",
        "1 MB",
        "bare CR and LF",
        "empty",
    ],
)
def test_what_was_stored_arrives_byte_for_byte(server: MailServer, hop: NextHop, data: bytes) -> None:
    queue(hop, data=data)
    with running_courier():
        (message,) = server.wait_for(1)
        eventually(all_delivered, "delivered")
    assert message.data == data


def test_each_recipient_has_its_own_result(server: MailServer, hop: NextHop) -> None:
    server.reply("rcpt", "550 5.1.1 No such user", to="ghost@")
    server.reply("rcpt", "450 4.2.1 Mailbox full", to="full@")
    queue(hop, "ann@acme.example", "ghost@acme.example", "full@acme.example", "bob@acme.example")
    with running_courier():
        (message,) = server.wait_for(1)
        eventually(lambda: not Recipient.objects.filter(state="sending").exists(), "all settled")
    assert message.recipients == ("ann@acme.example", "bob@acme.example")
    found = {r.address.partition("@")[0]: r for r in Recipient.objects.all()}
    assert {name: r.state for name, r in found.items()} == {
        "ann": "delivered",
        "bob": "delivered",
        "ghost": "expired",
        "full": "queued",
    }
    assert found["full"].next_attempt_at > found["full"].accepted_at
    assert (found["ghost"].last_reply, found["full"].attempts) == ("550 5.1.1 No such user", 1)
    assert set(Attempt.objects.values_list("result", "stage", "code")) == {
        ("delivered", "end", 250),
        ("refused", "rcpt", 550),
        ("deferred", "rcpt", 450),
    }
    assert set(KnownRecipient.objects.values_list("address", "source")) == {
        ("ann@acme.example", "learned"),
        ("bob@acme.example", "learned"),
    }


def test_parameters_go_only_to_servers_that_offer_them(account: Account) -> None:
    with MailServer() as rich, MailServer(extensions=("HELP",)) as poor:
        for name, server in (("rich", rich), ("poor", poor)):
            hop = make_hop(account, server, name=name)
            message = queue(hop, "a@acme.example", body_8bit=True, ret="HDRS", envid="E1", smtputf8=True)
            message.recipients.update(notify="FAILURE,DELAY", orcpt="rfc822;a@acme.example")
        with running_courier():
            (one,), (other,) = rich.wait_for(1), poor.wait_for(1)
            eventually(all_delivered, "delivered")
    # Nothing in the message needs SMTPUTF8, so it is not asked for.
    assert one.mail_parameters == f"SIZE={len(one.data)} BODY=8BITMIME RET=HDRS ENVID=E1"
    assert one.rcpt_parameters == ("NOTIFY=FAILURE,DELAY ORCPT=rfc822;a@acme.example",)
    assert (other.mail_parameters, other.rcpt_parameters) == ("", ("",))
    offered = NextHop.objects.values_list("route__name", "offered_size", "offered_smtputf8")
    assert set(offered) == {("rich", 52428800, True), ("poor", None, False)}


def test_an_address_beyond_ascii_goes_as_smtputf8_or_not_at_all(account: Account) -> None:
    with MailServer() as modern, MailServer(extensions=("8BITMIME",)) as old:
        for name, server in (("modern", modern), ("old", old)):
            queue(make_hop(account, server, name=name), "jörg@acme.example", smtputf8=True)
        with running_courier():
            (message,) = modern.wait_for(1)
            eventually(lambda: states() == {"delivered": 1, "expired": 1}, "one taken, one not")
    assert message.recipients == ("jörg@acme.example",)
    assert "SMTPUTF8" in message.mail_parameters
    assert Recipient.objects.get(state="expired").last_reply.startswith("553 5.6.7")


def test_a_message_larger_than_the_server_takes_is_refused_without_sending_it(account: Account) -> None:
    with MailServer(extensions=("SIZE 1000",)) as server:
        queue(make_hop(account, server), data=b"x" * 2000 + b"\r\n")
        with running_courier():
            eventually(lambda: states() == {"expired": 1}, "refused")
    assert Attempt.objects.get().code == 552
    assert not [command for command in server.commands if command.startswith("MAIL")]


def test_too_many_recipients_go_into_the_next_transaction_at_once(server: MailServer, hop: NextHop) -> None:
    server.reply("rcpt", "452 4.5.3 Too many recipients", to="c@", times=1)
    queue(hop, "a@acme.example", "b@acme.example", "c@acme.example")
    with running_courier():
        server.wait_for(2)
        eventually(all_delivered, "delivered")
    assert [message.recipients for message in server.messages] == [
        ("a@acme.example", "b@acme.example"),
        ("c@acme.example",),
    ]


def test_connections_are_reused_and_no_more_are_opened_than_allowed(account: Account) -> None:
    with MailServer() as server:
        hop = make_hop(account, server, max_connections=3)
        ids = queue_many(hop, 250)
        with running_courier(replace(QUICK, command=5, data=5, end=5, idle=5, quit=5)):
            server.wait_for(250)
            eventually(all_delivered, "delivered")
        assert server.most_sessions <= 3
        assert server.sessions <= 6
        assert server.count_by_message_id() == dict.fromkeys(ids, 1)


def test_the_next_host_is_tried_when_one_fails(account: Account) -> None:
    with MailServer() as first, MailServer() as second, MailServer() as third:
        first.stop()
        second.reply("banner", "554 5.3.2 Not today")
        hop = make_hop(account, first, second, third)
        queue(hop)
        with running_courier():
            third.wait_for(1)
            eventually(all_delivered, "delivered")
    hop.refresh_from_db()
    assert (hop.state, hop.failures) == ("up", 0)
    assert Attempt.objects.get().host == f"127.0.0.1:{third.port}"


def test_a_connection_closed_while_idle_is_no_failure(server: MailServer, hop: NextHop) -> None:
    queue(hop)
    with running_courier(replace(QUICK, idle=10)):
        server.wait_for(1)
        server.reply("mail", CLOSE, to="second@", times=1)
        queue(hop, sender="second@outside.example")
        server.wait_for(2)
        eventually(all_delivered, "delivered")
    assert server.sessions == 2
    assert set(Attempt.objects.values_list("result", flat=True)) == {"delivered"}


@pytest.mark.parametrize(
    ("policy", "offered", "secure"),
    [("opportunistic", True, True), ("opportunistic", False, False), ("required", True, True)],
)
def test_tls_is_used_as_the_policy_says(account: Account, policy: str, offered: bool, secure: bool) -> None:
    with MailServer(tls=offered) as server:
        hop = make_hop(account, server)
        hop.route.hosts.update(tls=policy)
        queue(hop)
        with running_courier():
            (message,) = server.wait_for(1)
    assert message.tls is secure


@pytest.mark.parametrize(("policy", "offered"), [("required", False), ("verified", True)])
def test_without_the_tls_that_is_required_nothing_is_sent(
    account: Account, policy: str, offered: bool
) -> None:
    with MailServer(tls=offered) as server:
        hop = make_hop(account, server)
        hop.route.hosts.update(tls=policy)
        queue(hop)
        with running_courier():
            eventually(Attempt.objects.exists, "an attempt")
        assert not server.messages
    attempt = Attempt.objects.first()
    assert attempt
    assert (attempt.result, attempt.stage) == ("host_failure", "starttls")


@pytest.mark.parametrize(
    ("stage", "reply", "code"),
    [
        ("banner", "421 4.3.2 Shutting down", 421),
        ("banner", "554 5.3.2 Go away", 554),
        ("banner", HANG, None),
        ("ehlo", "550 5.7.1 Not you", 550),
        ("ehlo", CLOSE, None),
        ("mail", "451 4.3.0 Later", 451),
        ("mail", HANG, None),
        ("rcpt", "421 4.3.2 Shutting down", 421),
        ("rcpt", CLOSE, None),
        ("data", "451 4.3.0 Later", 451),
        ("body", CLOSE, None),
        ("end", "452 4.3.1 Disk full", 452),
        ("end", CLOSE, None),
        ("end", HANG, None),
    ],
)
def test_a_host_failure_is_about_the_host_and_uses_up_no_attempt(
    server: MailServer, hop: NextHop, stage: str, reply: str, code: int | None
) -> None:
    server.reply(stage, reply)
    message = queue(hop)
    before = message.recipients.get()
    with running_courier():
        eventually(Attempt.objects.exists, "an attempt")
        server.behave()
        eventually(all_delivered, "delivered")
    attempt = Attempt.objects.earliest("pk")
    expected = "end" if stage == "body" else stage
    assert (attempt.result, attempt.stage, attempt.code) == ("host_failure", expected, code)
    after = message.recipients.get()
    assert (after.attempts, after.next_attempt_at) == (1, before.next_attempt_at)
    assert [message.sender for message in server.messages] == ["sender@outside.example"]


def test_mail_that_our_own_code_cannot_handle_is_quarantined_and_blocks_nobody(
    server: MailServer, hop: NextHop
) -> None:
    poison = queue(hop)
    MessageContent.objects.filter(message=poison).delete()
    Recipient.objects.filter(message=poison).update(faults=2)
    queue(hop)
    with running_courier():
        server.wait_for(1)
        eventually(lambda: states() == {"quarantined": 1, "delivered": 1}, "one quarantined")
    recipient = poison.recipients.get()
    assert recipient.faults == 3
    assert "DoesNotExist" in recipient.last_reply


def test_one_slow_server_holds_up_no_other_route(server: MailServer, account: Account) -> None:
    with MailServer() as slow:
        slow.reply("banner", HANG)
        queue_many(make_hop(account, slow, name="slow"), 30)
        quick = make_hop(make_account("other"), server)
        queue_many(quick, 30)
        with running_courier():
            server.wait_for(30, seconds=2)
            eventually(lambda: all_delivered(quick), "delivered")


def test_delivering_writes_no_audit_rows(server: MailServer, hop: NextHop) -> None:
    queue_many(hop, 10)
    with running_courier():
        eventually(all_delivered, "delivered")
    assert not AuditEntry.objects.exists()


def test_a_route_sends_no_more_messages_a_minute_than_it_may(server: MailServer, account: Account) -> None:
    first = make_hop(account, server, kind="outbound", max_per_minute=600)
    other = NextHop.objects.create(route=first.route, domain="other.example", state_since=first.state_since)
    queue_many(first, 12)
    queue_many(other, 12)
    started = time.monotonic()
    with running_courier():
        server.wait_for(24)
        took = time.monotonic() - started
        eventually(all_delivered, "delivered")
    # 10 a second for both together; of an idle moment 2 s may be made up for.
    assert 1.5 < took < 5
