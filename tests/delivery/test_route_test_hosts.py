"""Testing a route: several hosts, who may when, and by the command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, AlreadyDone, Refused
from delivery.models import NextHop, Route, RouteHost, RouteTest
from delivery.routetest import jobs
from delivery.routetest.runner import run_host
from delivery.routetest.steps import Stage
from delivery.services import route_tests
from tests.delivery.tested import ALL, Run, stages, step
from tests.support.couriers import make_hop
from tests.support.dns import DnsServer, dns_server
from tests.support.mailserver import MailServer
from tests.support.processes import free_port

pytestmark = pytest.mark.django_db


def test_every_host_is_tested_and_one_that_works_is_enough(
    account: Account, server: MailServer, run: Run
) -> None:
    hop = make_hop(account, server, server)
    first = hop.route.hosts.first()
    assert first
    RouteHost.objects.filter(pk=first.pk).update(port=free_port())
    test = run(hop.route)
    assert stages(test) == ["dns", "tcp", *ALL]
    assert test.result == "warning"
    RouteHost.objects.update(port=free_port())
    assert run(hop.route).result == "failed"


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with dns_server() as server:
        yield server


@pytest.fixture
def outbound(account: Account) -> Route:
    return Route.objects.create(account=account, name="Out", kind=Route.Kind.OUTBOUND)


def test_a_route_without_hosts_is_tested_at_the_mx_of_the_recipient(
    outbound: Route, server: MailServer, names: DnsServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MX_PORT", server.port)
    names.add("partner.example", "MX", "10 mx1.partner.example.", "20 mx2.partner.example.")
    names.add("mx1.partner.example", "A", "127.0.0.2")
    names.add("mx2.partner.example", "A", "127.0.0.1")
    test = run(outbound, "anna@partner.example")
    assert stages(test) == ["dns", "tcp", *ALL]
    assert test.steps[0]["host"].startswith("mx1.partner.example")
    assert step(test, Stage.DNS)["facts"] == {"mx_of": "partner.example", "addresses": ["127.0.0.2"]}
    assert test.result == "warning"
    assert server.sessions == 1


def test_a_domain_without_mail(outbound: Route, names: DnsServer, run: Run) -> None:
    test = run(outbound, "anna@nowhere.example")
    assert (test.result, stages(test)) == ("failed", ["dns"])
    assert test.steps[0]["problem"] == "no_address"
    assert "nowhere.example does not exist" in test.steps[0]["said"]
    names.fail("broken.example")
    assert run(outbound, "anna@broken.example").steps[0]["problem"] == "dns_away"


def test_an_inbound_route_without_hosts_is_not_tested(hop: NextHop) -> None:
    hop.route.hosts.all().delete()
    with pytest.raises(Refused, match="no host yet"):
        route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True)


def test_a_host_removed_meanwhile(hop: NextHop) -> None:
    test = route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True)
    hop.route.hosts.all().delete()
    assert run_host(test.pk, 0) is None
    test.refresh_from_db()
    assert (test.steps[-1]["problem"], test.result) == ("host_removed", "failed")


def test_one_test_at_a_time_and_a_double_click_is_one(hop: NextHop) -> None:
    now = timezone.now()
    route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True, request_key="k", now=now)
    with pytest.raises(AlreadyDone):
        route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True, request_key="k", now=now)
    with pytest.raises(Refused, match="running already"):
        route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True, now=now)
    later = now + route_tests.WAITS + timedelta(seconds=1)
    route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True, now=later)


@pytest.mark.parametrize("recipient", ["anna@elsewhere.example", "ärger@acme.example"])
def test_recipients_that_are_refused(hop: NextHop, recipient: str) -> None:
    with pytest.raises(Refused):
        route_tests.start(hop.route, SCHEDULER, recipient, here=True)
    assert not RouteTest.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_killed_worker_leaves_a_test_interrupted(hop: NextHop) -> None:
    now = timezone.now()
    test = route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True, now=now)
    assert route_tests.take_host(test.pk, 0, now)
    test.refresh_from_db()
    assert not test.interrupted(now + route_tests.RUNS)
    late = now + route_tests.RUNS + timedelta(seconds=1)
    assert test.interrupted(late)
    assert route_tests.take_host(test.pk, 1, late) is None
    test = RouteTest.objects.get()
    assert not route_tests.write_steps(test, [{}], late), "a worker that was only slow says no more"


def test_a_host_is_claimed_once(hop: NextHop, server: MailServer) -> None:
    test = route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True)
    jobs.run(test.pk, 0)
    jobs.run(test.pk, 0)
    jobs.run(999_999, 0)
    assert server.sessions == 1


def test_the_history_keeps_the_last_fifty(hop: NextHop) -> None:
    now = timezone.now()
    made = RouteTest.objects.bulk_create(
        RouteTest(route=hop.route, asked_at=now, asked_by="x", state="done", until=now) for _ in range(60)
    )
    test = route_tests.start(hop.route, SCHEDULER, "anna@acme.example", here=True)
    kept = set(RouteTest.objects.values_list("pk", flat=True))
    assert kept == {test.pk, *(one.pk for one in made[-49:])}


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_tells_the_steps(hop: NextHop, server: MailServer) -> None:
    out = StringIO()
    call_command("test_route", str(hop.route_id), stdout=out)
    said = out.getvalue()
    assert "220 test.example ESMTP" in said
    assert "Passed, with remarks" in said
    assert "does not offer STARTTLS" in said
    server.stop()
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("test_route", str(hop.route_id), stdout=out)
    assert ended.value.code == 1
    assert "nothing listens on this port" in out.getvalue()


def test_the_command_knows_the_routes(hop: NextHop) -> None:
    with pytest.raises(CommandError, match=f"Routes: {hop.route_id}"):
        call_command("test_route", "999999")
