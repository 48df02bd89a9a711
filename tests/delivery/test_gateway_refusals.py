"""What is refused, with which words, and that the next client is served."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from functools import partial

import pytest

from accounts.models import MailDomain
from delivery.models import KnownRecipient, Message, Recipient, Route
from tests.support.gateway import Client, RunningGateway, account, gateway, offers, stored
from tests.support.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> object:
    account()
    with gateway() as running:
        yield running


def gone(server: RunningGateway) -> bool:
    return server.gateway.connections.total == 0


def rcpt(client: Client, address: str) -> str:
    client.ask("RSET")
    client.ask("MAIL FROM:<bob@else.example>")
    return client.ask(f"RCPT TO:<{address}>")[:9]


def test_the_recipient_policy() -> None:
    one, two = account("one"), account("two", policy=MailDomain.Policy.ALL)
    domain = one.domains.get()
    KnownRecipient.objects.create(domain=domain, address="sales@one.example", source="alias")
    one.people.create(name="Max", address="max@two.example")  # not a domain of this account
    one.people.create(name="Eve", address="eve@three.example")
    MailDomain.objects.create(account=two, name="three.example")
    with gateway() as server, Client(server.port) as client:
        answers = {
            address: rcpt(client, address)
            for address in (
                "anna@one.example",
                "Anna@ONE.example",
                "anna+lists+x@one.example",
                "sales@one.example",
                "sales+x@one.example",
                "ANYBODY@two.example",
                "postmaster@one.example",
                "Abuse@one.example",
                "PostMaster",
                "nobody@one.example",
                "+x@one.example",
                "eve@three.example",
                "anna@sub.one.example",
                "anna@else.example",
                "anna%else.example@one.example",
                "@else.example:anna@one.example",
                "abuse",
                "anna@",
                "",
            )
        }
    assert answers == {
        "anna@one.example": "250 2.1.5",
        "Anna@ONE.example": "250 2.1.5",
        "anna+lists+x@one.example": "250 2.1.5",
        "sales@one.example": "250 2.1.5",
        "sales+x@one.example": "250 2.1.5",
        "ANYBODY@two.example": "250 2.1.5",
        "postmaster@one.example": "250 2.1.5",
        "Abuse@one.example": "250 2.1.5",
        "PostMaster": "250 2.1.5",
        "nobody@one.example": "550 5.1.1",
        "+x@one.example": "550 5.1.1",
        "eve@three.example": "550 5.1.1",
        "anna@sub.one.example": "550 5.7.1",
        "anna@else.example": "550 5.7.1",
        "anna%else.example@one.example": "550 5.1.1",
        "@else.example:anna@one.example": "250 2.1.5",
        "abuse": "553 5.1.3",
        "anna@": "553 5.1.3",
        "": "553 5.1.3",
    }


def test_postmaster_without_a_domain_goes_to_the_first_domain(server: RunningGateway) -> None:
    account("two")
    with Client(server.port) as client:
        assert client.mail(b"x\r\n.\r\n", to="Postmaster").startswith("250")
    assert Recipient.objects.get().address == "Postmaster@one.example"


def test_a_domain_without_a_route_is_asked_to_wait() -> None:
    Route.objects.filter(account=account()).delete()
    with gateway() as server, Client(server.port) as client:
        assert rcpt(client, "anna@one.example") == "451 4.3.5"
        assert rcpt(client, "nobody@one.example") == "550 5.1.1"


def test_a_new_address_is_known_within_seconds(server: RunningGateway) -> None:
    with Client(server.port) as client:
        assert rcpt(client, "new@one.example") == "550 5.1.1"
        KnownRecipient.objects.create(
            domain=MailDomain.objects.get(), address="new@one.example", source="imported"
        )
        wait_until(lambda: rcpt(client, "new@one.example") == "250 2.1.5", "the new address is known", 10)


WRONG: list[tuple[list[str], str]] = [
    (["MAIL FROM:<a@b.example>"], "503 5.5.1"),
    (["EHLO c", "RCPT TO:<anna@one.example>"], "503 5.5.1"),
    (["EHLO c", "DATA"], "503 5.5.1"),
    (["EHLO"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example>", "DATA"], "554 5.5.1"),
    (["EHLO c", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example>"], "503 5.5.1"),
    (["EHLO c", "MAIL FROM:<a@b.example>", "EHLO c", "RCPT TO:<anna@one.example>"], "503 5.5.1"),
    (["EHLO c", "MAIL FROM:<a@b.example", "NOOP"], "250 2.0.0"),
    (["EHLO c", "MAIL FROM:<a@b.example"], "553 5.1.3"),
    (["EHLO c", "MAIL <a@b.example>"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<cron>"], "553 5.1.7"),
    (["EHLO c", "MAIL FROM:<a@b.example> SIZE=52428801"], "552 5.3.4"),
    (["EHLO c", "MAIL FROM:<a@b.example> SIZE=x"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example> BODY=BINARYMIME"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example> RET=NONE"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example> AUTH=<>"], "555 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<anna@one.example> NOTIFY=NEVER,DELAY"], "501 5.5.4"),
    (["EHLO c", "MAIL FROM:<a@b.example>", "RCPT TO:<anna@one.example> X=1"], "555 5.5.4"),
    (["EHLO c", "AUTH PLAIN AGEAYg=="], "502 5.5.1"),
    (["EHLO c", "EXPN staff"], "502 5.5.1"),
    (["EHLO c", "VRFY anna"], "252 2.1.5"),
    (["EHLO c", "HELP"], "214 2.0.0"),
    (["EHLO c", "DATA now"], "501 5.5.4"),
    (["EHLO c", "STARTTLS now"], "501 5.5.4"),
    (["EHLO c", "RSET now"], "501 5.5.4"),
    (["EHLO c", "XCLIENT ADDR=192.0.2.1"], "500 5.5.1"),
    (["GET / HTTP/1.1"], "500 5.5.1"),
    ([""], "500 5.5.1"),
    (["NOOP " + "x" * 3000], "500 5.5.2"),
    (["NOOP " + "x" * 300_000], "500 5.5.2"),
    (["EHLO a\rb"], "500 5.5.2"),
    (["EHLO a\x00b"], "500 5.5.2"),
]


def test_each_wrong_command_gets_its_answer(server: RunningGateway) -> None:
    for commands, answer in WRONG:
        with Client(server.port, ehlo=False) as client:
            client.reply()
            for command in commands:
                last = client.ask(command)
            assert last.startswith(answer), commands
            assert client.ask("NOOP").startswith("250 2.0.0")
    assert not Message.objects.exists()


def test_too_large_a_message_is_refused_when_declared_and_when_sent() -> None:
    made = account()
    with gateway(size=10_000) as server, Client(server.port) as client:
        assert "SIZE 10000" in client.ask("EHLO c")
        assert client.ask("MAIL FROM:<b@else.example> SIZE=10001").startswith("552 5.3.4")
        assert client.mail(b"x" * 9_999 + b"\r\n.\r\n").startswith("552 5.3.4")
        assert client.mail(b"x\r\n" * 100_000 + b".\r\n").startswith("552 5.3.4")
        assert client.mail(b"x" * 9_998 + b"\r\n.\r\n").startswith("250")
    assert [len(content) for content in stored()] == [10_000]
    offers(made, size=5_000)
    with gateway(size=10_000) as server, Client(server.port) as client:
        assert "SIZE 5000" in client.ask("EHLO c")
        client.ask("MAIL FROM:<b@else.example> SIZE=5001")
        assert client.ask("RCPT TO:<anna@one.example>").startswith("552 5.3.4")
        client.ask("RSET")
        # With our own line in front the mail server would refuse it: the sender is told now.
        assert client.mail(b"x" * 4_998 + b"\r\n.\r\n").startswith("552 5.3.4")
        assert client.mail(b"x" * 4_000 + b"\r\n.\r\n").startswith("250")


def test_a_loop_is_refused(server: RunningGateway) -> None:
    with Client(server.port) as client:
        assert client.mail(b"Subject: x\r\n\r\nx\r\n.\r\n").startswith("250")
        again = bytes(Message.objects.get().content.data)
        assert client.mail(b"Received: from a by b; x\r\n" + again + b".\r\n").startswith("554 5.4.6")
        assert client.mail(b"Received: from a by b; x\r\n" * 101 + b"\r\nx\r\n.\r\n").startswith("554 5.4.6")
        assert client.mail(b"Received: from a by b; x\r\n" * 100 + b"\r\nx\r\n.\r\n").startswith("250")
    assert Message.objects.count() == 2


def test_half_a_message_and_a_hang_up_store_nothing(server: RunningGateway) -> None:
    for reset in (False, True):
        with Client(server.port) as client:
            for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
                client.ask(command)
            client.send(b"Subject: half\r\n\r\n" + b"x" * 100_000 + b"\r\n.\r")
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(partial(gone, server), "both are gone")
    assert server.gateway.budget.used == 0
    with Client(server.port) as client:
        assert client.mail(b"whole\r\n.\r\n").startswith("250")
    assert stored() == [b"whole\r\n"]


def test_garbage_is_answered_and_the_next_client_served(server: RunningGateway) -> None:
    for garbage in (
        os.urandom(20_000) + b"\r\n",
        b"\x16\x03\x01" * 1000,
        b"\n" * 20_000,
        b"\xff" * 70_000 + b"\n",
    ):
        with Client(server.port, ehlo=False) as client:
            assert client.reply().startswith("220 ")
            with contextlib.suppress(ConnectionError):
                client.send(garbage)
                client.socket.shutdown(socket.SHUT_WR)
            while reply := client.reply():
                assert reply[:9] in ("500 5.5.1", "500 5.5.2", "421 4.7.0", "501 5.5.4")
    with Client(server.port) as client:
        assert client.mail(b"x\r\n.\r\n").startswith("250")
    assert stored() == [b"x\r\n"]


# --- Limits -----------------------------------------------------------------------------------------


def test_recipients_beyond_the_limit_are_for_another_message(settings: object) -> None:
    account(policy=MailDomain.Policy.ALL)
    with gateway(recipients=100) as server, Client(server.port) as client:
        commands = "".join(f"RCPT TO:<p{number}@one.example>\r\n" for number in range(160))
        client.send(b"MAIL FROM:<b@else.example>\r\n" + commands.encode() + b"DATA\r\n")
        answers = [client.reply()[:9] for _ in range(162)]
        assert answers[1:101] == ["250 2.1.5"] * 100
        assert answers[101:161] == ["452 4.5.3"] * 60
        client.send(b"x\r\n.\r\n")
        assert client.reply().startswith("250")
    assert Recipient.objects.count() == 100


def test_connections_beyond_the_limits_are_asked_to_come_back(server: RunningGateway) -> None:
    for limits, words in (
        ({"connections": 2}, "Too many connections,"),
        ({"connections_per_address": 2}, "your address"),
    ):
        with gateway(**limits) as small:
            with Client(small.port), Client(small.port), Client(small.port, ehlo=False) as third:
                reply = third.reply()
                assert reply.startswith("421 4.7.0")
                assert words in reply
                assert third.reply() == ""
            wait_until(partial(gone, small), "all have gone")
            with Client(small.port) as client:
                assert client.mail(b"x\r\n.\r\n").startswith("250")


def test_endless_commands_and_errors_end_the_session(server: RunningGateway) -> None:
    with gateway(commands=20, errors=5) as small:
        with Client(small.port) as client:
            client.send(b"NOOP\r\n" * 30)
            answers = [client.reply()[:9] for _ in range(20)]
            assert answers == ["250 2.0.0"] * 19 + ["421 4.7.0"]
            assert client.reply() == ""
        with Client(small.port) as client:
            client.send(b"NONSENSE\r\n" * 10)
            assert [client.reply()[:3] for _ in range(7)] == ["500"] * 5 + ["421", ""]
        with Client(small.port) as client:  # each accepted message begins the count again
            for _ in range(10):
                assert client.mail(b"x\r\n.\r\n").startswith("250")
                assert client.ask("NONSENSE").startswith("500")


def test_an_idle_client_is_sent_away() -> None:
    account()
    with gateway(idle=1) as server:
        with Client(server.port, ehlo=False) as client:
            client.reply()
            assert client.reply().startswith("421 4.4.2")
            assert client.reply() == ""
        with Client(server.port) as client:  # a byte now and then is idle, too
            for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
                client.ask(command)
            client.socket.settimeout(0.02)
            reply, began = "", time.monotonic()
            while not reply and time.monotonic() - began < 5:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    reply = client.reply()
            assert reply.startswith("421 4.4.2")
    assert not Message.objects.exists()


def test_too_much_mail_in_flight_is_asked_to_come_back() -> None:
    account()
    with gateway(memory=1_000_000) as server:
        with Client(server.port) as first, Client(server.port) as second:
            for client in (first, second):
                client.ask("MAIL FROM:<b@else.example> SIZE=600000")
                client.ask("RCPT TO:<anna@one.example>")
            assert first.ask("DATA").startswith("354")
            assert second.ask("DATA").startswith("452 4.3.1")
            second.ask("RSET")
            # Not declared, found while it comes: it is read to its end, and refused.
            assert second.mail(b"x" * 500_000 + b"\r\n.\r\n").startswith("452 4.3.1")
            first.send(b"y\r\n.\r\n")
            assert first.reply().startswith("250")
            assert second.mail(b"z" * 500_000 + b"\r\n.\r\n").startswith("250")
        assert server.gateway.budget.used == 0
    assert [content[:1] for content in stored()] == [b"y", b"z"]
