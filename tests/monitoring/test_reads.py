"""What pages ask about monitors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.models import Route
from monitoring import reads, services
from monitoring.models import Monitor, Window
from tests.monitoring.conftest import START, WINDOW, Site

SECOND = timedelta(seconds=1)


def judge(site: Site, *results: str) -> None:
    for number, result in enumerate(results):
        if result:
            site.attempt(START + number * WINDOW + SECOND, result, f"{result} {number}")
        services.judge_due(START + (number + 1) * WINDOW + SECOND)


def test_a_monitor_with_counter_windows_outage_and_the_servers_words(site: Site) -> None:
    judge(site, "host_failure", "host_failure", "host_failure", "delivered")
    (state,) = reads.monitor_states(site.account.pk, START + 4 * WINDOW)
    assert (state.counter, state.threshold) == (2, 3)
    assert [window.counter for window in state.windows] == [1, 2, 3, 2]
    assert state.outage
    assert state.outage == site.monitor.outages.get()
    assert (state.sentence, state.reply) == ("Mail was delivered.", "host_failure 2")


def test_nothing_of_another_account_is_seen(make_site: Callable[..., Site]) -> None:
    ours, theirs = make_site("ours"), make_site("theirs")
    judge(theirs, "host_failure", "host_failure", "host_failure")
    (state,) = reads.monitor_states(ours.account.pk, START)
    assert state.monitor == ours.monitor
    assert {window.monitor for window in state.windows} == {ours.monitor}
    assert state.outage is None


def test_states_of_many_monitors_cost_the_same_queries(site: Site) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            reads.monitor_states(site.account.pk, START)
        return len(captured)

    few = queries()
    for number in range(5):
        Monitor.objects.create(account=site.account, route=site.route, description=f"Monitor {number}")
    assert queries() == few == 3


@pytest.mark.parametrize(
    ("verdict", "source", "step", "sentence"),
    [
        ("failure", "delivery", 1, "Deliveries to the mail server failed."),
        ("failure", "probe", 1, "The probe of the mail server failed."),
        ("success", "probe", -1, "No mail in this window; the mail server answered the probe."),
        ("success", "probe", 0, "The probe was answered, but mail still waits: only a delivery counts."),
        ("failure", "round_trip", 1, "The round-trip probe failed: mail does not leave."),
        ("success", "round_trip", -1, "The round-trip probe came back in time."),
        ("quiet", "", -1, "Nothing to judge."),
        ("quiet", "", 0, "Nothing to judge yet."),
        ("unknown", "local", 0, "Not known: a fault of our own."),
        ("unknown", "", 0, "Not known: monitoring did not run."),
    ],
)
def test_the_evidence_in_a_sentence(verdict: str, source: str, step: int, sentence: str) -> None:
    assert reads.evidence_sentence(Window(verdict=verdict, source=source, step=step)) == sentence


def test_a_monitor_takes_only_an_inbound_route_of_its_own_account(make_site: Callable[..., Site]) -> None:
    ours, theirs = make_site("ours"), make_site("theirs")
    ours.monitor.full_clean()
    ours.monitor.route = theirs.route
    with pytest.raises(ValidationError, match="belongs to another account"):
        ours.monitor.full_clean()
    ours.monitor.route = Route.objects.create(account=ours.account, name="Out", kind="outbound")
    with pytest.raises(ValidationError, match="outbound"):
        ours.monitor.full_clean()


@pytest.mark.parametrize("threshold", [0, 61])
def test_a_threshold_is_1_to_60(site: Site, threshold: int) -> None:
    site.monitor.threshold = threshold
    with pytest.raises(ValidationError):
        site.monitor.full_clean()
