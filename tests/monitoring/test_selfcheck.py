"""Is it us? A fault of our own is told from one of the mail server, and excuses it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from delivery import reads
from delivery.models import Pause
from monitoring import ourselves, services
from monitoring.local_rules import Case, Facts, Fault, Part, faults
from monitoring.models import Monitor, Outage, Probe, Pulse, Window
from tests.monitoring.conftest import START, WINDOW, Site
from tests.support.dns import DnsServer
from tests.support.gateway import gateway
from tests.support.processes import free_port

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


# --- What facts mean ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(), []),
        (Facts(disk_free=200, disk_needed=100), []),
        (Facts(disk_free=99, disk_needed=100), [Part.DISK]),
        (Facts(disk_error="Read-only file system"), [Part.DISK]),
        (Facts(clock_off=59 * SECOND), []),
        (Facts(clock_off=-61 * SECOND), [Part.CLOCK]),
        (Facts(stuck_for=12 * MINUTE), [Part.BACKLOG]),
        (Facts(ways=(False, True)), []),
        (Facts(ways=(False, False)), [Part.NETWORK]),
        (Facts(witnesses=(False, True)), []),
        (Facts(witnesses=(False, False)), [Part.NETWORK]),
        (Facts(resolved=False, resolver=False), [Part.DNS]),
        (Facts(resolved=False, resolver=True), []),
        (Facts(resolved=True, resolver=False), []),
        (Facts(gateway=False), [Part.GATEWAY]),
        (Facts(ways=(False,), resolved=False, resolver=False), [Part.NETWORK]),
    ],
)
def test_what_is_a_fault_of_our_own(facts: Facts, expected: list[Part]) -> None:
    assert [fault.part for fault in faults(facts)] == expected


@pytest.mark.parametrize(
    ("part", "case", "excused"),
    [
        (Part.DISK, Case(answered=True), True),
        (Part.CLOCK, Case(remote=False), True),
        (Part.NETWORK, Case(), True),
        (Part.NETWORK, Case(remote=False), False),
        (Part.NETWORK, Case(answered=True), False),
        (Part.DNS, Case(named=True), True),
        (Part.DNS, Case(named=False), False),
        (Part.DNS, Case(named=True, answered=True), False),
        (Part.GATEWAY, Case(round_trip=True, answered=True), True),
        (Part.GATEWAY, Case(), False),
        (Part.BACKLOG, Case(), True),
        (Part.BACKLOG, Case(delivering=True), False),
    ],
)
def test_a_fault_excuses_only_what_needs_that_part_of_us(part: Part, case: Case, excused: bool) -> None:
    assert case.is_explained_by(Fault(part, "")) is excused


# --- Looking ------------------------------------------------------------------------------------------------


def test_a_dns_server_that_says_anything_is_there(settings: Settings) -> None:
    with DnsServer() as server:
        settings.DNS_SERVERS = [server.address]
        assert ourselves.dns_answers()
    settings.DNS_SERVERS = [f"127.0.0.1:{free_port()}"]
    assert not ourselves.dns_answers()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_without_a_network_there_is_no_way_to_anybody() -> None:
    ask = (
        "from monitoring.ourselves import knows_way; print(knows_way('192.0.2.1'), knows_way('2001:db8::1'))"
    )
    command = ["unshare", "-n", sys.executable, "-c", f"import django; django.setup(); {ask}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no namespaces for this user")
    assert done.stdout.split() == ["False", "False"], done.stderr
    assert ourselves.knows_way("127.0.0.1")


def test_the_disk_is_tried_by_writing(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    free, error, written = ourselves.disk()
    assert free
    assert error == ""
    assert written
    assert list(tmp_path.iterdir()) == []
    settings.DATA_DIR = tmp_path / "gone"
    assert ourselves.disk() == (None, "No such file or directory", None)


@pytest.mark.django_db
def test_the_clocks_of_this_machine_and_the_database_agree() -> None:
    assert abs(ourselves.clock_off(ourselves.disk()[2])) < 5 * SECOND


@pytest.mark.django_db(transaction=True)
def test_the_gateway_is_asked_for_its_greeting(settings: Settings) -> None:
    with gateway() as running:
        settings.SMTP_PORT = running.port
        assert ourselves.gateway_answers()
    settings.MX_PORT = free_port()
    assert not ourselves.gateway_answers()


def test_who_hangs_is_left_behind() -> None:
    import threading

    never = threading.Event()
    try:
        assert ourselves.ask({"slow": never.wait, "quick": lambda: True}, limit=0.05) == {"quick": True}
    finally:
        never.set()


# --- Judging ------------------------------------------------------------------------------------------------


def failed(site: Site, number: int, reply: str = "No answer within 60 s.") -> None:
    start = START + number * WINDOW
    Probe.objects.create(
        monitor=site.monitor,
        window_start=start,
        started_at=start + 60 * SECOND,
        finished_at=start + 61 * SECOND,
        ok=False,
        reply=reply,
    )
    services.judge_due(start + WINDOW + SECOND)


def test_a_full_disk_of_ours_is_no_outage_of_theirs_and_ends_none(site: Site, settings: Settings) -> None:
    site.host(25)
    for number in range(3):
        failed(site, number)
    assert Outage.objects.get().closed_at is None
    settings.DISK_FAILED_MB = 10**9
    for number in range(3, 6):
        failed(site, number)
    window = Window.objects.latest("end")
    assert (window.verdict, window.step, window.source) == ("unknown", 0, "local")
    assert window.reply.startswith("The gateway's own disk is full")
    assert site.fresh().counter == 3
    assert Outage.objects.get().closed_at is None


@pytest.mark.parametrize(("answers", "verdict"), [(True, "failure"), (False, "unknown")])
def test_a_name_that_is_not_found_is_our_fault_only_when_our_dns_is_silent(
    site: Site, settings: Settings, answers: bool, verdict: str
) -> None:
    site.host(25, hostname="mail.invalid")
    with DnsServer() as server:
        settings.DNS_SERVERS = [server.address if answers else f"127.0.0.1:{free_port()}"]
        failed(site, 0, "The name of the host could not be resolved: Name or service not known.")
    window = Window.objects.get()
    assert window.verdict == verdict
    assert answers or window.reply == "The gateway's own DNS does not answer."


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [({}, "failure"), ({"dns": timedelta(hours=1)}, "unknown"), ({"dns": timedelta(hours=25)}, "failure")],
    ids=["closed network", "answered an hour ago", "silent for a day"],
)
def test_who_never_answered_is_no_witness(
    site: Site, settings: Settings, seen: dict[str, timedelta], verdict: str
) -> None:
    """A closed network, with a DNS server in its settings that nobody reaches, is not cut off for ever."""
    settings.DNS_SERVERS = [f"127.0.0.1:{free_port()}"]
    Pulse.objects.create(
        pk=1, witnesses={name: (timezone.now() - ago).isoformat() for name, ago in seen.items()}
    )
    site.host(25, hostname="192.0.2.1")
    failed(site, 0)
    assert Window.objects.get().verdict == verdict


def test_a_server_that_spoke_was_reached_whoever_else_is_silent(site: Site, settings: Settings) -> None:
    settings.DNS_SERVERS = [f"127.0.0.1:{free_port()}"]
    Pulse.objects.create(pk=1, witnesses={"dns": timezone.now().isoformat()})
    site.host(25, hostname="192.0.2.1")
    failed(site, 0, "451 4.3.2 Not now")
    assert Window.objects.get().verdict == "failure"


def test_a_round_trip_that_our_own_gateway_could_not_take_says_nothing(
    site: Site, settings: Settings
) -> None:
    settings.SMTP_PORT = settings.MX_PORT = free_port()
    Monitor.objects.update(inbound=False, route=None, outbound_host="127.0.0.1", outbound_latency_seconds=60)
    Probe.objects.create(
        kind="outbound",
        monitor=site.monitor,
        window_start=START,
        started_at=START,
        finished_at=START + SECOND,
        ok=True,
        reply="250 2.0.0 Ok: queued",
        nonce="0" * 32,
    )
    services.judge_due(START + WINDOW + SECOND)
    window = Window.objects.get()
    assert (window.verdict, window.source) == ("unknown", "local")
    assert "takes no mail" in window.reply


# --- Our own queue ------------------------------------------------------------------------------------------


def test_a_queue_is_stuck_when_mail_is_due_and_nobody_tries(site: Site) -> None:
    due = site.attempt(START, "deferred")
    assert reads.stuck_for(START + 9 * MINUTE) is None
    assert reads.stuck_for(START + 11 * MINUTE) == 11 * MINUTE
    pause = Pause.objects.create(account=site.account, started_at=START, started_by="Maria")
    assert reads.stuck_for(START + 11 * MINUTE) is None
    Pause.objects.filter(pk=pause.pk).update(ended_at=START + 20 * MINUTE)
    assert reads.stuck_for(START + 25 * MINUTE) is None, "it has just begun again"
    assert reads.stuck_for(START + 31 * MINUTE) == 31 * MINUTE
    site.attempt(START + 30 * MINUTE, "deferred", state="bounced")
    assert reads.stuck_for(START + 31 * MINUTE) is None
    due.delete()


def test_nothing_is_looked_at_while_nothing_fails(
    make_site: Callable[..., Site], django_assert_max_num_queries: Callable[..., object]
) -> None:
    site = make_site()
    site.attempt(START + SECOND, "delivered")
    services.judge_due(START + WINDOW + SECOND)
    assert not Pulse.objects.exists()
