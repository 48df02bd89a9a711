"""Testing a route over real sockets: what each step finds, and what it says to do."""

from __future__ import annotations

import pytest

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, Refused
from delivery.models import NextHop, RouteHost
from delivery.routetest import dialogue
from delivery.routetest.steps import Stage
from delivery.services import route_tests
from tests.delivery.tested import ALL, Run, stages, step
from tests.support.mailserver import CLOSE, HANG, MailServer
from tests.support.processes import free_port

pytestmark = pytest.mark.django_db


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
