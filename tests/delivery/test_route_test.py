"""Testing a route over real sockets: what each step finds, and what it says to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import secrets
from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, AlreadyDone, Refused
from delivery.models import NextHop, Route, RouteHost, RouteTest
from delivery.routetest import dialogue, jobs
from delivery.routetest.runner import run_host
from delivery.routetest.steps import Stage
from delivery.services import route_tests
from tests.support.certificates import Authority, self_signed
from tests.support.couriers import make_account, make_hop
from tests.support.dns import DnsServer, dns_server
from tests.support.mailserver import CLOSE, HANG, MailServer, free_port

pytestmark = pytest.mark.django_db
ALL = [stage.value for stage in Stage if stage != Stage.MESSAGE]
Run = Callable[..., RouteTest]


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def hop(account: Account, server: MailServer) -> NextHop:
    return make_hop(account, server)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture
def run() -> Run:
    """Test a route as the workers would, one host after the other."""

    def tested(route: Route, recipient: str = "anna@acme.example", **options: Any) -> RouteTest:
        test = route_tests.start(route, SCHEDULER, recipient, here=True, **options)
        following: int | None = 0
        while following is not None:
            following = run_host(test.pk, following)
        test.refresh_from_db()
        return test

    return tested


def step(test: RouteTest, stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in test.steps if one["stage"] == stage)
    return found


def stages(test: RouteTest) -> list[str]:
    return [one["stage"] for one in test.steps]


def test_a_server_that_works(hop: NextHop, server: MailServer, run: Run) -> None:
    test = run(hop.route)
    assert stages(test) == ALL
    assert (test.state, test.result) == ("done", "warning"), "no TLS: mail passes, with a remark"
    assert step(test, Stage.DNS)["result"] == "skipped", "a literal address"
    assert step(test, Stage.BANNER)["said"] == "220 test.example ESMTP"
    assert "8BITMIME" in step(test, Stage.EHLO)["facts"]["extensions"]
    assert step(test, Stage.STARTTLS)["problem"] == "tls_missing"
    assert step(test, Stage.AUTH)["result"] == "skipped"
    assert step(test, Stage.RCPT)["said"] == "250 2.1.5 Ok"
    assert not any(command.startswith("DATA") for command in server.commands)
    assert server.messages == []
    server.wait_until(lambda: server.open_sessions == 0, what="a polite end")


def test_a_name_is_resolved(hop: NextHop, server: MailServer, run: Run) -> None:
    RouteHost.objects.update(hostname="localhost")
    assert "127.0.0.1" in step(run(hop.route), Stage.DNS)["facts"]["addresses"]


def test_a_name_that_is_none(hop: NextHop, run: Run) -> None:
    RouteHost.objects.update(hostname="mail.invalid")
    test = run(hop.route)
    assert stages(test) == ["dns"]
    assert test.result == "failed"
    assert step(test, Stage.DNS)["problem"] in ("no_address", "dns_away"), "by what the resolver is like here"


def test_nothing_listens(hop: NextHop, run: Run) -> None:
    RouteHost.objects.update(port=free_port())
    test = run(hop.route)
    assert stages(test) == ["dns", "tcp"]
    assert step(test, Stage.TCP)["problem"] == "refused"
    assert step(test, Stage.TCP)["said"] == "Connection refused."


@pytest.mark.parametrize(
    ("at", "reply", "stage", "result", "problem"),
    [
        ("banner", "554 5.7.1 Go away", "banner", "failed", "turned_away"),
        ("banner", "421 4.3.2 Too busy", "banner", "failed", "busy"),
        ("banner", "HTTP/1.1 400 Bad Request", "banner", "failed", "not_smtp"),
        ("banner", CLOSE, "banner", "failed", "hung_up"),
        ("ehlo", "550 5.7.1 Not you", "ehlo", "failed", "turned_away"),
        ("ehlo", CLOSE, "ehlo", "failed", "hung_up"),
        ("mail", "451 4.3.0 Not now", "mail", "failed", "full"),
        ("mail", "550 5.7.1 Not from you", "mail", "failed", "sender_refused"),
        ("rcpt", "550 5.1.1 Unknown", "rcpt", "warning", "recipient_unknown"),
        ("rcpt", "550 No such user", "rcpt", "warning", "recipient_unknown"),
        ("rcpt", "550 5.7.1 Relaying denied", "rcpt", "failed", "relay_refused"),
        ("rcpt", "554 Relay access denied", "rcpt", "failed", "relay_refused"),
        ("rcpt", "450 4.7.1 Greylisted", "rcpt", "warning", "recipient_deferred"),
        ("rcpt", "452 4.3.1 Disk full", "rcpt", "failed", "full"),
        ("rcpt", "421 4.3.2 Closing", "rcpt", "failed", "busy"),
    ],
)
def test_each_refusal_is_told_apart(
    hop: NextHop, server: MailServer, run: Run, at: str, reply: str, stage: str, result: str, problem: str
) -> None:
    server.reply(at, reply)
    test = run(hop.route)
    last = test.steps[-1]
    assert (last["stage"], last["result"], last["problem"]) == (stage, result, problem)
    if reply[:3].isdigit():
        assert last["said"] == reply


def test_a_server_that_wants_a_sender(hop: NextHop, server: MailServer, run: Run) -> None:
    server.reply("mail", "550 5.7.1 No null sender", to="<>")
    assert run(hop.route).steps[-1]["stage"] == "rcpt"
    assert any("postmaster@" in command for command in server.commands)


@pytest.mark.parametrize("at", ["banner", "ehlo", "mail", "rcpt"])
def test_a_silent_server_has_an_end(
    hop: NextHop, server: MailServer, run: Run, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(dialogue, "STEP_SECONDS", 0.2)
    server.reply(at, HANG)
    last = run(hop.route).steps[-1]
    assert (last["stage"], last["problem"]) == (at, "silent")
    assert 150 <= last["ms"] < 5000


def test_a_host_has_a_limit_in_all(
    hop: NextHop, server: MailServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "HOST_SECONDS", 0.4)
    for at in ("banner", "ehlo", "mail", "rcpt"):
        server.reply(at, "", delay=0.15)
    last = run(hop.route).steps[-1]
    assert last["problem"] == "silent"
    assert last["stage"] in ("ehlo", "mail")


# --- encryption -------------------------------------------------------------------------------------------


@pytest.fixture
def secure() -> Iterator[MailServer]:
    with MailServer(tls=True) as server:
        yield server


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that this machine trusts for the time of a test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    return authority


def host_of(secure: MailServer, tls: str) -> Route:
    route = make_hop(make_account("tls"), secure).route
    route.hosts.update(hostname="localhost", tls=tls)
    return route


@pytest.mark.parametrize("tls", ["opportunistic", "required", "verified"])
def test_a_valid_certificate(secure: MailServer, trusted: Authority, run: Run, tls: str) -> None:
    secure._context = trusted.context(days=90.5)
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert (found["result"], found["problem"]) == ("ok", "")
    assert found["facts"]["trusted"] is True
    assert found["facts"]["names"] == ["localhost"]
    assert found["facts"]["issuer"] == "Test Authority"
    assert found["facts"]["chain"] == ["localhost", "Test Authority"]
    assert found["facts"]["days"] == 90
    assert found["facts"]["protocol"] == "TLSv1.3"
    assert secure.sessions == 1, "one connection is enough"
    assert test.result == "ok"


BAD: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str]] = {
    "expired": (lambda authority: authority.context(days=-3), "certificate_expired"),
    "wrong name": (lambda authority: authority.context("other.example"), "certificate_name"),
    "self-signed": (lambda _authority: self_signed(), "certificate_self_signed"),
    "unknown issuer": (lambda _authority: Authority.new("Stranger").context(), "certificate_unknown"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("tls", ["opportunistic", "verified"])
def test_a_bad_certificate(secure: MailServer, trusted: Authority, run: Run, kind: str, tls: str) -> None:
    make, problem = BAD[kind]
    secure._context = make(trusted)
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert found["problem"] == problem
    assert found["said"]
    assert "trusted" not in found["facts"]
    assert found["facts"]["names"] == ["other.example" if kind == "wrong name" else "localhost"]
    assert found["facts"]["days"] == (-3 if kind == "expired" else 89)
    if tls == "verified":
        assert (found["result"], test.result, stages(test)[-1]) == ("failed", "failed", "starttls")
    else:
        assert (found["result"], test.result, stages(test)[-1]) == ("warning", "warning", "rcpt")


def test_a_certificate_that_ends_soon(secure: MailServer, trusted: Authority, run: Run) -> None:
    secure._context = trusted.context(days=5.5)
    found = step(run(host_of(secure, "verified"), "anna@tls.example"), Stage.STARTTLS)
    assert (found["result"], found["problem"], found["facts"]["days"]) == (
        "warning", "certificate_expires", 5,
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
def test_starttls_that_fails(secure: MailServer, run: Run, tls: str) -> None:
    secure.reply("starttls", "454 4.7.0 TLS not available")
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert (found["problem"], found["said"]) == ("tls_failed", "454 4.7.0 TLS not available")
    expected = ("failed", "starttls") if tls == "required" else ("warning", "rcpt")
    assert (found["result"], stages(test)[-1]) == expected


def test_required_and_not_offered(server: MailServer, run: Run) -> None:
    found = run(host_of(server, "required"), "anna@tls.example").steps[-1]
    assert (found["stage"], found["result"], found["problem"]) == ("starttls", "failed", "tls_missing")


# --- signing in -------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[MailServer]:
    with MailServer(tls=True, users={"relay": "right"}) as server:
        yield server


def signing_in(guarded: MailServer, sealed: str, tls: str = "required") -> Route:
    route = host_of(guarded, tls)
    route.hosts.update(username="relay", sealed_password=sealed)
    return route


def test_signing_in(guarded: MailServer, run: Run) -> None:
    test = run(signing_in(guarded, secrets.encrypt("right")), "anna@tls.example", send_message=True)
    found = step(test, Stage.AUTH)
    assert (found["result"], found["facts"]) == ("ok", {"username": "relay"})
    assert test.steps[-1]["result"] == "ok"
    assert "right" not in str(test.steps)


@pytest.mark.parametrize(
    ("sealed", "offer", "problem"),
    [
        ("wrong", "AUTH PLAIN LOGIN", "auth_refused"),
        ("right", "AUTH GSSAPI", "auth_missing"),
        ("", "AUTH PLAIN", "password_unreadable"),
    ],
)
def test_a_sign_in_that_fails(guarded: MailServer, run: Run, sealed: str, offer: str, problem: str) -> None:
    guarded.auth = offer
    route = signing_in(guarded, secrets.encrypt(sealed) if sealed else "sealed with another key")
    test = run(route, "anna@tls.example")
    last = test.steps[-1]
    assert (last["stage"], last["result"], last["problem"]) == ("auth", "failed", problem)
    assert test.result == "failed"


def test_no_password_in_the_clear(server: MailServer, run: Run) -> None:
    last = run(signing_in(server, secrets.encrypt("right"), "opportunistic"), "anna@tls.example").steps[-1]
    assert (last["stage"], last["result"], last["problem"]) == ("starttls", "failed", "tls_missing")


# --- a real message ---------------------------------------------------------------------------------------


def test_a_real_message(hop: NextHop, server: MailServer, run: Run) -> None:
    test = run(hop.route, send_message=True)
    found = step(test, Stage.MESSAGE)
    assert found["result"] == "ok"
    assert "queued as" in found["said"], "the server's words with its queue id"
    (message,) = server.wait_for(1)
    assert message.recipients == ("anna@acme.example",)
    assert message.sender == ""
    assert message.header("Message-ID") == found["facts"]["message_id"]
    assert message.header("Subject") == f"Continuity route test {test.pk}"
    assert message.header("Auto-Submitted") == "auto-generated"
    route_tests.confirm_arrival(test, SCHEDULER)
    test.refresh_from_db()
    assert test.arrived_by == "Continuity"
    with pytest.raises(Refused):
        route_tests.confirm_arrival(test, SCHEDULER)
    actions = list(AuditEntry.objects.order_by("number").values_list("action", flat=True))
    assert actions == ["route.tested", "route.test_arrived"]


def test_a_message_that_is_refused(hop: NextHop, server: MailServer, run: Run) -> None:
    server.reply("end", "550 5.7.1 Looks like spam")
    found = run(hop.route, send_message=True).steps[-1]
    assert (found["stage"], found["result"], found["problem"]) == ("message", "failed", "message_refused")
    assert found["said"] == "550 5.7.1 Looks like spam"


def test_no_message_to_a_recipient_that_was_refused(hop: NextHop, server: MailServer, run: Run) -> None:
    server.reply("rcpt", "550 5.1.1 Unknown")
    assert run(hop.route, send_message=True).steps[-1]["stage"] == "rcpt"


# --- several hosts, and who may when ---------------------------------------------------------------------


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
