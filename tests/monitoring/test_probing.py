"""Probes of real servers on real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import close_old_connections, connections

from accounts.models import Person
from delivery.models import KnownRecipient, NextHop
from delivery.services.claims import Host
from monitoring import jobs, services
from monitoring.models import Monitor, Probe, Window
from monitoring.probe import Outcome, Plan, is_host_failure, probe
from tests.monitoring.conftest import START, WINDOW, Site
from tests.support.mailserver import CLOSE, HANG, MailServer
from tests.support.processes import free_port

SECOND = timedelta(seconds=1)
HALF = START + 60 * SECOND


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def tls_server() -> Iterator[MailServer]:
    with MailServer(tls=True) as server:
        yield server


def ask(*ports: int, limit: float = 5, tls: str = "opportunistic", name: str = "127.0.0.1") -> Outcome:
    hosts = [Host(name, port, tls) for port in ports]
    return asyncio.run(probe(Plan(1, hosts, "maria@example.org", limit, "gateway.example")))


# --- One probe ----------------------------------------------------------------------------------------------


def test_a_healthy_server_is_asked_for_the_recipient_and_nothing_is_sent(server: MailServer) -> None:
    outcome = ask(server.port)
    assert outcome == Outcome(True, f"127.0.0.1:{server.port}", "rcpt", "250 2.1.5 Ok")
    server.wait_until(lambda: server.open_sessions == 0)
    assert [line for line in server.commands if line] == [
        "EHLO gateway.example",
        "MAIL FROM:<>",
        "RCPT TO:<maria@example.org>",
        "RSET",
    ]
    assert server.messages == []


def test_a_server_that_is_gone_is_told_in_plain_words() -> None:
    port = free_port()
    assert ask(port) == Outcome(False, f"127.0.0.1:{port}", "connect", "Connection refused.")


def test_a_name_that_does_not_resolve() -> None:
    outcome = ask(25, name="mail.invalid")
    assert (outcome.ok, outcome.stage) == (False, "connect")
    assert outcome.reply.startswith("The name of the host could not be resolved")


@pytest.mark.parametrize(
    ("stage", "reply", "expected"),
    [
        ("banner", "554 5.3.2 Not today", "554 5.3.2 Not today"),
        ("banner", "421 4.3.2 Too busy", "421 4.3.2 Too busy"),
        ("ehlo", "550 5.7.1 Go away", "550 5.7.1 Go away"),
        ("mail", "452 4.3.1 Disk full", "452 4.3.1 Disk full"),
        ("mail", "550 5.7.1 Nothing from anybody", "550 5.7.1 Nothing from anybody"),
        ("rcpt", "451 4.3.0 Mail store is away", "451 4.3.0 Mail store is away"),
        ("rcpt", "550 5.7.1 Relaying denied", "550 5.7.1 Relaying denied"),
        ("rcpt", "421 4.3.2 Shutting down", "421 4.3.2 Shutting down"),
    ],
)
def test_a_server_that_takes_no_mail_has_failed(
    server: MailServer, stage: str, reply: str, expected: str
) -> None:
    server.reply(stage, reply)
    outcome = ask(server.port)
    assert (outcome.ok, outcome.stage, outcome.reply) == (False, stage, expected)


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt"])
@pytest.mark.parametrize(("trouble", "words"), [(HANG, "No answer within 0 s."), (CLOSE, "")])
def test_silence_and_a_cut_connection_are_failures(
    server: MailServer, stage: str, trouble: str, words: str
) -> None:
    server.reply(stage, trouble)
    outcome = ask(server.port, limit=0.3)
    assert not outcome.ok
    assert outcome.stage == ("connect" if stage == "banner" else stage)
    assert outcome.reply.startswith(words)
    assert outcome.reply


@pytest.mark.parametrize("reply", ["550 5.1.1 No such user", "450 4.2.1 Mailbox busy", "550 Who?"])
def test_trouble_of_one_mailbox_is_none_of_the_route(server: MailServer, reply: str) -> None:
    server.reply("rcpt", reply)
    assert ask(server.port) == Outcome(True, f"127.0.0.1:{server.port}", "rcpt", reply)


@pytest.mark.parametrize(
    ("code", "text", "failure"),
    [
        (450, "4.1.1 unknown for now", False),
        (452, "4.2.2 over quota", False),
        (450, "try again", True),
        (451, "4.7.1 greylisted", True),
        (421, "4.2.1 closing", True),
        (550, "5.1.1 unknown", False),
        (552, "5.2.2 full", False),
        (550, "no such user", False),
        (554, "no", True),
        (550, "5.4.6 loop", True),
        (550, "5.3.2 system not accepting mail", True),
        (556, "5.1.10 null MX", True),
    ],
)
def test_what_a_refused_recipient_means(code: int, text: str, failure: bool) -> None:
    assert is_host_failure(code, text) is failure


def test_a_server_that_dislikes_the_null_sender_is_asked_with_another(server: MailServer) -> None:
    server.reply("mail", "550 5.7.1 No bounces here", to="<>")
    assert ask(server.port).ok
    assert "MAIL FROM:<postmaster@gateway.example>" in server.commands


def test_the_next_host_is_tried_when_one_fails(server: MailServer) -> None:
    assert ask(free_port(), server.port).host == f"127.0.0.1:{server.port}"


def test_a_silent_first_host_leaves_time_for_the_second(server: MailServer) -> None:
    with MailServer() as silent:
        silent.reply("banner", HANG)
        outcome = ask(silent.port, server.port, limit=0.6)
    assert outcome == Outcome(True, f"127.0.0.1:{server.port}", "rcpt", "250 2.1.5 Ok")


def test_starttls_is_used_when_offered(tls_server: MailServer) -> None:
    tls_server.commands.clear()
    assert ask(tls_server.port).ok
    assert [line for line in tls_server.commands if line][:3] == [
        "EHLO gateway.example",
        "STARTTLS",
        "EHLO gateway.example",
    ]


def test_opportunistic_tls_that_fails_is_done_without(tls_server: MailServer) -> None:
    tls_server.reply("starttls", "454 4.7.0 No TLS now")
    try:
        assert ask(tls_server.port).ok
        outcome = ask(tls_server.port, tls="required")
        assert (outcome.ok, outcome.stage, outcome.reply) == (False, "starttls", "454 4.7.0 No TLS now")
    finally:
        tls_server.behave()


def test_a_certificate_that_must_be_good_and_is_not(tls_server: MailServer) -> None:
    outcome = ask(tls_server.port, tls="verified", name="localhost")
    assert (outcome.ok, outcome.stage) == (False, "starttls")
    assert "certificate" in outcome.reply.lower()


def test_tls_that_is_required_and_not_offered(server: MailServer) -> None:
    outcome = ask(server.port, tls="required")
    assert (outcome.ok, outcome.stage) == (False, "starttls")
    assert "does not offer STARTTLS" in outcome.reply


# --- When a probe is made -----------------------------------------------------------------------------------


def test_an_idle_window_is_probed_once_when_half_over(site: Site, server: MailServer) -> None:
    site.host(server.port)
    assert services.probe_due(HALF - SECOND) == 0
    assert services.probe_due(HALF) == 1
    assert services.probe_due(HALF + SECOND) == 0
    made = Probe.objects.get()
    assert (made.window_start, made.ok, made.stage, made.reply) == (START, True, "rcpt", "250 2.1.5 Ok")
    assert made.host == f"127.0.0.1:{server.port}"
    assert made.finished_at
    assert HALF < made.finished_at < HALF + 5 * SECOND
    assert "RCPT TO:<postmaster@example.org>" in server.commands
    services.judge_due(START + WINDOW + SECOND)
    window = Window.objects.get()
    assert (window.verdict, window.source, window.step) == ("success", "probe", -1)


def test_a_dead_server_is_noticed_at_night(site: Site) -> None:
    site.host(free_port())
    for number in range(3):
        services.probe_due(HALF + number * WINDOW)
        services.judge_due(START + (number + 1) * WINDOW + SECOND)
    outage = site.monitor.outages.get()
    assert (outage.failing_since, outage.reply) == (START, "Connection refused.")


def test_a_server_that_refuses_real_people_opens_an_outage(site: Site, server: MailServer) -> None:
    """Three people were refused; the probe that is refused as well must not pass for a success."""
    site.host(server.port)
    server.reply("rcpt", "550 5.1.1 No such mailbox here")
    NextHop.objects.update(state=NextHop.State.SUSPECT)
    for number in range(3):
        services.probe_due(HALF + number * WINDOW)
        services.judge_due(START + (number + 1) * WINDOW + SECOND)
    assert site.monitor.outages.get().reply == "550 5.1.1 No such mailbox here"


def test_a_refused_probe_is_a_success_while_nothing_is_suspected(site: Site, server: MailServer) -> None:
    site.host(server.port)
    server.reply("rcpt", "550 5.1.1 No such mailbox here")
    services.probe_due(HALF)
    assert Probe.objects.get().ok is True


@pytest.mark.parametrize("result", ["delivered", "host_failure"])
def test_a_window_with_a_real_attempt_needs_no_probe(site: Site, server: MailServer, result: str) -> None:
    site.host(server.port)
    site.attempt(START + SECOND, result)
    assert services.probe_due(HALF) == 0


def test_a_refused_recipient_is_no_attempt_that_judges_the_server(site: Site, server: MailServer) -> None:
    site.host(server.port)
    site.attempt(START + SECOND, "refused")
    assert services.probe_due(HALF) == 1


def test_no_probe_for_a_monitor_that_is_off_or_a_route_without_hosts(site: Site, server: MailServer) -> None:
    assert services.probe_due(HALF) == 0
    site.host(server.port)
    Monitor.objects.update(active=False)
    assert services.probe_due(HALF) == 0


def test_the_probe_asks_for_somebody_who_exists(site: Site, server: MailServer) -> None:
    site.host(server.port)
    Person.objects.create(account=site.account, name="Jo", address="jo@example.org")
    services.probe_due(HALF)
    assert "RCPT TO:<jo@example.org>" in server.commands
    KnownRecipient.objects.create(domain=site.domain, address="li@example.org", source="learned")
    services.probe_due(HALF + WINDOW)
    assert "RCPT TO:<li@example.org>" in server.commands


def test_a_hanging_server_delays_neither_other_probes_nor_their_judging(
    make_site: Callable[..., Site], server: MailServer
) -> None:
    """Windows of 4 s, so a probe may take 2 s; meanwhile another monitor is judged."""
    with MailServer() as silent:
        silent.reply("banner", HANG)
        hanging, healthy = make_site("hanging", window_seconds=4), make_site("healthy", window_seconds=4)
        hanging.host(silent.port)
        healthy.host(server.port)
        judged: list[list[str]] = []

        def meanwhile() -> None:
            services.judge_due(START + 5 * SECOND)
            judged.append(list(Window.objects.values_list("monitor__account__name", flat=True)))

        assert services.probe_due(START + 2 * SECOND, meanwhile) == 2
    assert judged[0] == ["healthy"]
    assert Probe.objects.get(monitor=hanging.monitor).reply == "No answer within 2 s."
    services.judge_due(START + 5 * SECOND)
    assert Window.objects.get(monitor=hanging.monitor).verdict == "failure"


def test_many_probes_are_made_at_once(make_site: Callable[..., Site]) -> None:
    with MailServer() as slow:
        slow.reply("ehlo", "", delay=0.5)
        for number in range(20):
            make_site(f"site{number}").host(slow.port)
        began = time.monotonic()
        assert services.probe_due(HALF) == 20
        assert time.monotonic() - began < 5, "one after the other it takes 10 s"
    assert Probe.objects.filter(ok=True).count() == 20


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_probe_each_window_once(
    make_site: Callable[..., Site], server: MailServer
) -> None:
    for number in range(10):
        make_site(f"site{number}").host(server.port)

    def work(_number: int) -> int:
        close_old_connections()
        try:
            return services.probe_due(HALF)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as executor:
        assert sum(executor.map(work, range(3))) == 10
    assert Probe.objects.filter(ok=True).count() == 10
    assert server.sessions == 10


@pytest.mark.django_db(transaction=True)
def test_a_tick_judges_and_probes(site: Site, server: MailServer) -> None:
    site.host(server.port)
    with time_machine.travel(START + WINDOW + 70 * SECOND, tick=True):
        jobs.tick()
    assert Window.objects.get().verdict == "unknown", "nobody looked in the first window"
    assert Probe.objects.get().window_start == START + WINDOW
    with time_machine.travel(START + 2 * WINDOW + SECOND, tick=True):
        jobs.tick()
    assert Window.objects.latest("end").verdict == "success"
