"""What a monitor checks: as it is set in the console, on routes that are gone, and for a thousand at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import AuditEntry
from accounts.secrets import decrypt, encrypt
from delivery.models import Route
from delivery.services.claims import Host
from monitoring import reads, services
from monitoring.forms import MonitorForm
from monitoring.models import Monitor, Outage, Probe, Window
from monitoring.probe import Outcome, Plan, probe
from tests.monitoring.conftest import START, WINDOW, Site
from tests.support.mailserver import MailServer
from tests.support.monitors import watched

SECOND = timedelta(seconds=1)
OUTBOUND = {
    "outbound_host": "mail.example.org",
    "outbound_username": "probe@example.org",
    "outbound_password": "secret words",
}

# --- Hosts that want us to sign in --------------------------------------------------------------------------


def ask(port: int, password: str) -> Outcome:
    host = Host("127.0.0.1", port, "required", "relay", encrypt(password))
    return asyncio.run(probe(Plan(1, [host], "maria@example.org", 5, "gateway.example")))


def test_the_probe_signs_in_where_the_route_does() -> None:
    with MailServer(tls=True, users={"relay": "right"}) as server:
        outcome = ask(server.port, "right")
        assert (outcome.ok, outcome.stage) == (True, "rcpt")
        assert any(command.startswith("AUTH ") for command in server.commands)
        outcome = ask(server.port, "wrong")
        assert (outcome.ok, outcome.stage) == (False, "auth")
        server.wait_until(lambda: server.open_sessions == 0)


# --- A route that is gone -----------------------------------------------------------------------------------


def test_without_its_route_a_monitor_says_so_and_judges_nothing(site: Site) -> None:
    for number in range(3):
        site.attempt(START + number * WINDOW + SECOND, "host_failure")
    services.judge_due(START + 3 * WINDOW + SECOND)
    assert Outage.objects.get().closed_at is None
    other = Route.objects.create(account=site.account, name="Other")
    Monitor.objects.update(route=other)
    other.delete()
    monitor = site.fresh()
    assert monitor.route_removed
    assert not monitor.watches
    now = START + 10 * WINDOW
    services.probe_due(now)
    services.judge_due(now)
    outage = Outage.objects.get()
    assert (outage.closed_at, outage.recovered) == (now, False)
    assert AuditEntry.objects.get(action="outage.closed").reason == "Its route was removed."
    assert Window.objects.count() == 3
    assert not Probe.objects.exists()
    assert not reads.is_overdue(now + timedelta(days=1))


def test_a_monitor_with_both_checks_goes_on_with_the_other(site: Site) -> None:
    Monitor.objects.update(route=None, outbound_host="127.0.0.1")
    Probe.objects.create(
        kind="outbound",
        monitor=site.monitor,
        window_start=START,
        started_at=START + SECOND,
        finished_at=START + 2 * SECOND,
        ok=False,
        reply="Connection refused.",
    )
    services.judge_due(START + WINDOW + SECOND)
    window = Window.objects.get()
    assert (window.verdict, window.source) == ("failure", "round_trip")


def test_the_check_that_says_the_worst_counts(site: Site) -> None:
    """Mail is delivered, but the probe is late: one failure, not a success and a failure."""
    Monitor.objects.update(outbound_host="127.0.0.1", outbound_latency_seconds=30)
    site.attempt(START + SECOND, "delivered")
    Probe.objects.create(
        kind="outbound",
        monitor=site.monitor,
        window_start=START,
        started_at=START + SECOND,
        finished_at=START + 2 * SECOND,
        arrived_at=START + 32 * SECOND,
        ok=True,
        reply="250 Ok",
    )
    services.judge_due(START + WINDOW + SECOND)
    window = Window.objects.get()
    assert (window.verdict, window.step, window.deliveries) == ("failure", 1, 1)


# --- The form -----------------------------------------------------------------------------------------------


def form(site: Site, instance: Monitor | None = None, /, **values: object) -> MonitorForm:
    data = {"description": "Both", "route": site.route.pk, "threshold": 5, "time_zone": "UTC", "active": "on"}
    return MonitorForm(
        site.account, {key: str(value) for key, value in (data | values).items()}, instance=instance
    )


def test_an_outbound_check_is_kept_with_its_password_sealed_and_an_address_of_its_own(site: Site) -> None:
    filled = form(site, None, **OUTBOUND)
    assert filled.is_valid(), filled.errors
    monitor = filled.save()
    assert decrypt(monitor.outbound_sealed_password) == "secret words"
    assert "secret" not in monitor.outbound_sealed_password
    assert "secret" not in str(filled.changes())
    assert monitor.sink
    assert monitor.sink.address.endswith("@continuity.localhost")
    assert (monitor.outbound_port, monitor.outbound_tls, monitor.outbound_latency_seconds) == (
        587,
        "verified",
        120,
    )
    # Saved again without the password it stays; with another server it has to be entered again.
    again = form(site, monitor, **OUTBOUND | {"outbound_password": ""})
    assert again.is_valid(), again.errors
    assert decrypt(again.save().outbound_sealed_password) == "secret words"
    moved = form(site, monitor, **OUTBOUND | {"outbound_password": "", "outbound_host": "other.example.org"})
    assert list(moved.errors) == ["outbound_password"]
    without = form(site, monitor)
    assert without.is_valid(), without.errors
    assert without.save().outbound_sealed_password == ""


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"route": ""}, "route"),
        ({"sensitivity": "custom", "threshold": ""}, "threshold"),
        ({"sensitivity": "custom", "threshold": "61"}, "threshold"),
        (OUTBOUND | {"outbound_username": ""}, "outbound_username"),
        (OUTBOUND | {"outbound_username": "CORP\\probe"}, "outbound_sender"),
        (OUTBOUND | {"outbound_password": ""}, "outbound_password"),
        (OUTBOUND | {"outbound_host": "continuity.localhost", "outbound_port": "25"}, "outbound_host"),
        (OUTBOUND | {"outbound_latency_seconds": "4"}, "outbound_latency_seconds"),
    ],
)
def test_what_could_not_work_is_refused(site: Site, values: dict[str, object], wrong: str) -> None:
    assert list(form(site, None, **values).errors) == [wrong]


@pytest.mark.parametrize(("chosen", "threshold"), [("3", 3), ("10", 10), ("custom", 7)])
def test_a_preset_is_a_threshold(site: Site, chosen: str, threshold: int) -> None:
    filled = form(site, sensitivity=chosen, threshold=7)
    assert filled.is_valid(), filled.errors
    assert filled.save().threshold == threshold


# --- A thousand of them -------------------------------------------------------------------------------------


def test_a_tick_with_nothing_to_do_asks_the_same_however_many_there_are(db: None) -> None:
    def queries() -> int:
        now = START + 70 * SECOND
        with CaptureQueriesContext(connection) as captured:
            services.read_arrivals()
            services.judge_due(now)
            services.note_tick(now)
            services.probe_due(now)
        return len(captured)

    watched(100, START)
    services.note_tick(START + 70 * SECOND)
    few = queries()
    watched(100, START)
    assert queries() == few <= 14


def test_probes_of_several_gateways_come_back_to_one_of_them(site: Site, settings: Settings) -> None:
    def address(name: str, after: timedelta) -> str:
        settings.GATEWAY_NAME = name
        services.note_tick(START + after)
        monitor = Monitor.objects.select_related("sink").get()
        services.ensure_sinks([monitor], START + after)
        assert monitor.sink
        return monitor.sink.address

    minute = timedelta(minutes=1)
    first = address("MX1.example", 0 * minute)
    assert first.endswith("@mx1.example")
    for number in range(1, 20):  # both tick
        assert address("mx2.example" if number % 3 else "mx1.example", number * minute) == first
    assert address("mx2.example", 22 * minute) == first
    renamed = address("mx2.example", 24 * minute)
    assert renamed.endswith("@mx2.example")
    assert address("mx1.example", 25 * minute) == renamed
    assert address("mx2.example", -60 * minute) == renamed, "a clock that was ahead"
