"""Outgoing mail finds its way by DNS, each domain on its own, and never back to the gateway."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from django.conf import settings
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Account
from delivery.models import Attempt, NextHop, Recipient, Route, RouteHost
from delivery.services.hops import next_hops
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
from tests.support.dns import DnsServer, dns_server
from tests.support.mailserver import CLOSE, HANG, MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def configured(settings: Settings) -> Settings:
    """The settings, to be changed for one test."""
    return settings


@pytest.fixture
def server(configured: Settings) -> Iterator[MailServer]:
    with MailServer() as server:
        configured.MX_PORT = server.port
        yield server


@pytest.fixture
def second(server: MailServer) -> Iterator[MailServer]:
    """On the same port of another address."""
    with MailServer(port=server.port, address="127.0.0.2") as second:
        yield second


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with dns_server() as dns:
        dns.add("mx1.example.org", "A", "127.0.0.1")
        dns.add("mx2.example.org", "A", "127.0.0.2")
        yield dns


@pytest.fixture
def route() -> Route:
    return Route.objects.create(
        account=make_account(),
        name="out",
        kind=Route.Kind.OUTBOUND,
        canary_first_seconds=0.2,
        canary_max_seconds=0.4,
    )


def nudge() -> None:
    """As the gateway does it when it has taken mail."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):  # or it is not up yet
        sender.sendto(b"", str(settings.DATA_DIR / "courier.sock"))


def hop_to(route: Route, domain: str = "example.org") -> NextHop:
    return NextHop.objects.get(pk=next_hops({(route.pk, domain)}, timezone.now())[route.pk, domain])


def test_the_best_mx_gets_the_mail_and_the_next_one_when_it_fails(
    route: Route, server: MailServer, second: MailServer, dns: DnsServer
) -> None:
    dns.add("example.org", "MX", "20 mx2.example.org.", "10 mx1.example.org.")
    with running_courier():
        queue(hop_to(route), "ann@example.org")
        server.wait_for(1)
        server.stop()
        queue(hop_to(route), "bob@example.org")
        second.wait_for(1)
        eventually(all_delivered, "delivered")
    assert Attempt.objects.earliest("pk").host == f"mx1.example.org[127.0.0.1]:{server.port}"
    assert Attempt.objects.latest("pk").host == f"mx2.example.org[127.0.0.2]:{server.port}"
    assert dns.questions.count(("example.org", "MX")) == 1, "the answer was not kept"


def test_equals_share_the_mail(route: Route, server: MailServer, second: MailServer, dns: DnsServer) -> None:
    dns.add("example.org", "MX", "10 mx2.example.org.", "10 mx1.example.org.")
    route.max_connections = 20
    route.save()
    queue_many(hop_to(route), 100)
    with running_courier():
        eventually(all_delivered, "delivered")
    assert server.messages
    assert second.messages


def test_a_domain_without_mx_has_its_own_address(route: Route, server: MailServer, dns: DnsServer) -> None:
    dns.add("plain.example", "A", "127.0.0.1")
    queue(hop_to(route, "plain.example"))
    queue(hop_to(route, "[127.0.0.1]"))
    with running_courier():
        server.wait_for(2)
        eventually(all_delivered, "delivered")


@pytest.mark.parametrize(
    ("domain", "mx", "words"),
    [
        ("nowhere.example", None, "550 5.1.2 The domain nowhere.example does not exist."),
        ("null.example", "0 .", "550 5.1.10 The domain null.example takes no mail."),
        ("lost.example", "10 gone.example.", "550 5.4.4 The mail servers of lost.example have no address."),
        ("loop.example", "10 mx.gateway.example.", "550 5.4.6 The mail of loop.example leads back"),
        ("address.example", "10 own.example.", "550 5.4.6 The mail of address.example leads back"),
        ("a..example", None, "550 5.1.2 a..example is not a domain."),
    ],
)
@pytest.mark.parametrize("state", ["up", "down"])
def test_what_dns_says_for_certain_is_final(
    route: Route, dns: DnsServer, configured: Settings, state: str, domain: str, mx: str | None, words: str
) -> None:
    configured.GATEWAY_NAME, configured.MX_PORT = "mx.gateway.example", settings.SMTP_PORT
    dns.add("mx.gateway.example", "A", "192.0.2.1")
    dns.add("own.example", "A", "127.0.0.1")
    if mx:
        dns.add(domain, "MX", mx)
    hop = hop_to(route, domain)
    NextHop.objects.filter(pk=hop.pk).update(state=state)
    queue(hop, f"ann@{domain}")
    with running_courier():
        eventually(lambda: states() == {"expired": 1}, "given up")
    assert Recipient.objects.get().last_reply.startswith(words)
    assert Attempt.objects.get().stage == "dns"


def test_a_backup_mx_sends_to_the_better_ones_only(
    route: Route, server: MailServer, dns: DnsServer, configured: Settings
) -> None:
    configured.GATEWAY_NAME = "mx.gateway.example"
    dns.add("mx.gateway.example", "A", "127.0.0.2")
    dns.add("example.org", "MX", "10 mx1.example.org.", "20 mx.gateway.example.", "30 mx2.example.org.")
    server.stop()
    hop = hop_to(route)
    queue(hop)
    with running_courier():
        eventually(lambda: NextHop.objects.get(pk=hop.pk).state == "down", "down")
        assert set(Attempt.objects.values_list("host", flat=True)) == {
            f"mx1.example.org[127.0.0.1]:{server.port}"
        }


def test_dns_that_does_not_answer_is_a_failure_of_that_domain_alone(
    route: Route, server: MailServer, dns: DnsServer
) -> None:
    dns.add("example.org", "MX", "10 mx1.example.org.")
    dns.add("broken.example", "MX", "10 mx1.example.org.")
    dns.fail("broken.example")
    broken = hop_to(route, "broken.example")
    queue(broken, "ann@broken.example")
    queue_many(hop_to(route), 20)
    with running_courier():
        server.wait_for(20)
        eventually(lambda: NextHop.objects.get(pk=broken.pk).state == "down", "the domain is down")
        assert NextHop.objects.get(domain="example.org").state == "up"
        assert states(broken) == {"queued": 1}
        assert "could not be looked up" in Attempt.objects.filter(next_hop=broken).earliest("pk").reply
        dns.fail("broken.example", False)
        eventually(all_delivered, "delivered when DNS is back")


def test_a_smart_host_takes_the_mail_of_all_domains(route: Route, server: MailServer) -> None:
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=server.port)
    for domain in ("one.example", "two.example"):
        queue(hop_to(route, domain), f"ann@{domain}")
    with running_courier():
        server.wait_for(2)
        eventually(all_delivered, "delivered")


def test_a_server_that_turns_out_to_be_ourselves_gets_nothing(route: Route, server: MailServer) -> None:
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=server.port)
    server.reply("banner", "220 gateway.example ESMTP Continuity")
    hop = hop_to(route)
    queue(hop)
    with running_courier():
        eventually(lambda: NextHop.objects.get(pk=hop.pk).state == "down", "down")
    attempt = Attempt.objects.earliest("pk")
    assert (attempt.stage, attempt.result) == ("banner", "host_failure")
    assert "leads back to this gateway" in attempt.reply
    assert not any(server.commands), "it was spoken to"


@pytest.mark.parametrize("silent", [HANG, CLOSE])
def test_a_first_host_that_fails_costs_its_time_out_once_not_for_every_message(silent: str) -> None:
    account: Account = make_account()
    with MailServer() as dead, MailServer() as good:
        dead.reply("banner", silent)
        hop = make_hop(account, dead, good, max_connections=4)
        with running_courier(replace(QUICK, connect=1.0, idle=0.01)):
            for count in range(1, 13):
                queue(hop)
                nudge()
                good.wait_for(count)
        eventually(all_delivered, "delivered")
        assert dead.sessions <= 4, "asked again and again"
