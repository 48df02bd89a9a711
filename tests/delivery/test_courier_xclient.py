"""XCLIENT: the mail server is told who brought each message, and mail goes on where it does not want that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from accounts.models import Account
from delivery.courier.xclient import name_of, xtext
from delivery.models import Attempt, NextHop
from delivery.routetest.steps import Stage
from tests.delivery.tested import Run, step
from tests.support import postfix
from tests.support.couriers import all_delivered, eventually, make_hop, queue, running_courier
from tests.support.dns import DnsServer
from tests.support.mailserver import CLOSE, MailServer, Received

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = "XCLIENT NAME ADDR PROTO HELO"
ANNA, BOB = "203.0.113.7", "2001:db8::b0b"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer(extensions=("PIPELINING", "8BITMIME", WANTED)) as server:
        yield server


@pytest.fixture
def hop(account: Account, server: MailServer) -> NextHop:
    return make_hop(account, server, xclient=True, max_connections=1)


def mail(hop: NextHop, address: str = ANNA, helo: str = "mail.anna.example") -> None:
    queue(hop, client_address=address, helo=helo)


def sent(server: MailServer, count: int) -> list[Received]:
    with running_courier():
        found = server.wait_for(count)
        eventually(all_delivered, "all delivered")
    return found


def test_each_message_comes_from_its_own_client(server: MailServer, hop: NextHop, dns: DnsServer) -> None:
    dns.add("7.113.0.203.in-addr.arpa", "PTR", "forged.example.", "mail.anna.example.")
    dns.add("forged.example", "A", "203.0.113.99")
    dns.add("mail.anna.example", "A", "198.51.100.1", ANNA)
    mail(hop)
    mail(hop)
    mail(hop, BOB, "bob=müller + x")
    mail(hop, BOB, "bob=müller + x")
    mail(hop)
    found = sent(server, 5)
    anna = "ADDR=203.0.113.7 NAME=mail.anna.example HELO=mail.anna.example PROTO=ESMTP"
    bob = "ADDR=IPV6:2001:db8::b0b NAME=[UNAVAILABLE] HELO=bob+3Dm+C3+BCller+20+2B+20x PROTO=ESMTP"
    assert [one.client for one in found] == [anna, anna, bob, bob, anna]
    assert [one.helo for one in found] == [
        *("mail.anna.example",) * 2,
        *("[IPv6:2001:db8::b0b]",) * 2,
        "mail.anna.example",
    ]
    assert [one.session for one in found] == [1, 1, 2, 2, 3]
    assert sum(line.startswith("XCLIENT") for line in server.commands) == 3


def test_our_own_reports_never_come_from_the_client_before_them(server: MailServer, hop: NextHop) -> None:
    mail(hop)
    queue(hop, sender="")
    first, second = sent(server, 2)
    assert first.client.startswith("ADDR=203.0.113.7 ")
    assert (second.client, second.helo) == ("", "gateway.example")
    assert server.sessions == 2


@pytest.mark.parametrize("answer", ["550 5.7.0 Not authorized", "502 5.5.1 What?", CLOSE])
def test_mail_goes_on_without_it_where_it_is_refused(server: MailServer, hop: NextHop, answer: str) -> None:
    server.reply("xclient", answer)
    mail(hop)
    mail(hop, BOB)
    found = sent(server, 2)
    assert [one.client for one in found] == ["", ""]
    assert server.sessions == 2
    assert sum(line.startswith("XCLIENT") for line in server.commands) == 1
    assert set(Attempt.objects.values_list("result", flat=True)) == {"delivered"}


def test_a_client_that_is_refused_is_not_named_and_others_are(server: MailServer, hop: NextHop) -> None:
    server.reply("ehlo", "504 5.5.2 Need a whole name", to="EHLO anna")
    server.reply("xclient", "421 4.7.0 Too many from there", to="198.51.100.1")
    mail(hop, ANNA, "anna")
    mail(hop, "198.51.100.1")
    mail(hop, BOB)
    *unnamed, bob = sent(server, 3)
    assert [(found.client, found.helo) for found in unnamed] == [("", "gateway.example")] * 2
    assert bob.client.startswith("ADDR=IPV6:2001:db8::b0b ")


def test_a_connection_that_was_closed_meanwhile_says_nothing_about_it(
    server: MailServer, hop: NextHop
) -> None:
    server.reply("xclient", CLOSE, to=BOB, times=1)
    queue(hop, sender="")
    mail(hop, BOB)
    first, second = sent(server, 2)
    assert (first.session, second.session) == (1, 2)
    assert second.client.startswith("ADDR=IPV6:2001:db8::b0b ")


@pytest.mark.parametrize("offered", [(), ("XCLIENT LOGIN",)])
def test_nothing_is_said_where_it_is_not_wanted(account: Account, offered: tuple[str, ...]) -> None:
    with MailServer(extensions=offered) as server:
        mail(make_hop(account, server, xclient=True))
        (found,) = sent(server, 1)
        assert not found.client
    with MailServer(extensions=(WANTED,)) as server:
        mail(make_hop(account, server, name="second"))
        (found,) = sent(server, 1)
        assert not found.client


@pytest.mark.skipif(not postfix.available(), reason="needs Postfix, Dovecot and root")
def test_postfix_takes_the_sender_for_its_client(account: Account, dns: DnsServer) -> None:
    dns.add("7.113.0.203.in-addr.arpa", "PTR", "mail.anna.example.")
    dns.add("mail.anna.example", "A", ANNA)
    with postfix.mail_server(["anna@acme.example"]) as real:
        hop = make_hop(account, xclient=True, max_connections=1)
        hop.route.hosts.create(hostname="127.0.0.1", port=real.port)
        # This one is set to speak IPv4 alone, so it refuses Bob's address.
        for address in (ANNA, BOB, ANNA, "198.51.100.1"):
            queue(hop, "anna@acme.example", client_address=address, helo="mail.anna.example")
        queue(hop, "anna@acme.example", sender="")
        with running_courier():
            eventually(all_delivered, "all delivered")
        log = real.log()
    clients = re.findall(r": [0-9A-F]+: client=(\S+)", log)
    assert clients == [
        *("mail.anna.example[203.0.113.7]", "unknown[127.0.0.1]", "mail.anna.example[203.0.113.7]"),
        *("unknown[198.51.100.1]", "unknown[127.0.0.1]"),
    ], log
    assert "improper command pipelining" not in log


def test_an_address_without_a_name_or_without_dns(dns: DnsServer) -> None:
    dns.fail("7.113.0.203.in-addr.arpa")
    assert asyncio.run(name_of(ANNA)) == "[TEMPUNAVAIL]"
    dns.add("8.113.0.203.in-addr.arpa", "PTR", "no+such=name.example.")
    assert asyncio.run(name_of("203.0.113.8")) == "[UNAVAILABLE]"
    assert asyncio.run(name_of("203.0.113.9")) == "[UNAVAILABLE]"


def test_the_route_test_remarks_that_it_is_not_offered(hop: NextHop, server: MailServer, run: Run) -> None:
    assert step(run(hop.route), Stage.EHLO)["problem"] == ""
    server.extensions = ()
    assert step(run(hop.route), Stage.EHLO)["problem"] == "xclient_missing"


def test_no_attribute_can_be_added_by_a_client() -> None:
    assert xtext("a\r\nQUIT ADDR=1.2.3.4+") == "a+0D+0AQUIT+20ADDR+3D1.2.3.4+2B"
