"""Windows, verdicts and outages, from attempts in the database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

import django_rq
import pytest
from django.db import close_old_connections, connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, AuditEntry
from delivery.models import Pause, Recipient
from monitoring import services
from monitoring.models import Monitor, Outage, Probe, Window
from tests.monitoring.conftest import START, WINDOW, Site

SECOND = timedelta(seconds=1)


def after(windows: int) -> datetime:
    """Just when window number `windows` (from 1) can be judged."""
    return START + windows * WINDOW + SECOND


def fail(site: Site, windows: int, first: int = 0) -> None:
    for number in range(first, first + windows):
        site.attempt(START + number * WINDOW + 30 * SECOND, "host_failure", f"421 down {number}")


def test_a_window_is_judged_once_a_second_after_its_end(site: Site) -> None:
    fail(site, 1)
    assert services.judge_due(after(1) - SECOND / 2) == 0
    assert services.judge_due(after(1)) == 1
    assert services.judge_due(after(1)) == 0
    window = Window.objects.get()
    assert (window.start, window.end) == (START, START + WINDOW)
    assert (window.verdict, window.step, window.counter, window.source) == ("failure", 1, 1, "delivery")
    assert (window.deliveries, window.failures, window.reply) == (0, 1, "421 down 0")
    assert (site.fresh().counter, site.monitor.judged_until) == (1, START + WINDOW)


def test_an_outage_opens_at_the_threshold_with_its_audit_row(site: Site) -> None:
    for number in range(1, 4):
        fail(site, 1, number - 1)
        services.judge_due(after(number))
        assert Outage.objects.count() == (number == 3)
    outage = Outage.objects.get()
    assert (outage.failing_since, outage.opened_at, outage.closed_at) == (START, after(3), None)
    assert outage.reply == "421 down 2"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.by) == ("outage.opened", f"outage:{outage.pk}", "scheduler")
    assert (entry.details["counter"], entry.details["reply"]) == (3, "421 down 2")


def test_an_outage_that_moved_is_acted_upon_at_once(
    site: Site, django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]]
) -> None:
    """Alerts do not wait for the next tick of the clock: a job of theirs is in the queue by then."""
    queue = django_rq.get_queue("alerts")
    queue.delete()
    fail(site, 2)
    with django_capture_on_commit_callbacks(execute=True):
        services.judge_due(after(2))
    assert queue.count == 0
    fail(site, 1, 2)
    with django_capture_on_commit_callbacks(execute=True):
        services.judge_due(after(3))
    assert [job.func_name for job in queue.jobs] == ["events.jobs.tick"]
    queue.delete()


def test_an_outage_closes_when_the_counter_is_back_at_half(site: Site) -> None:
    fail(site, 5)
    services.judge_due(after(5))
    outage = Outage.objects.get()
    for number, still_open in ((6, True), (7, False)):
        site.attempt(START + number * WINDOW - 30 * SECOND, "delivered")
        services.judge_due(after(number))
        outage.refresh_from_db()
        assert (outage.closed_at is None) == still_open
    assert outage.closed_at == START + 7 * WINDOW
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["outage.opened", "outage.closed"]
    assert Outage.objects.count() == 1


def test_failing_since_is_the_first_failure_since_the_counter_was_zero(site: Site) -> None:
    fail(site, 1)
    site.attempt(START + WINDOW + SECOND, "delivered")
    fail(site, 2, 2)
    site.attempt(START + 4 * WINDOW + SECOND, "delivered")
    fail(site, 2, 5)
    for number in range(1, 8):
        services.judge_due(after(number))
    assert Outage.objects.get().failing_since == START + 2 * WINDOW


def test_a_second_outage_is_since_the_first_one_closed(site: Site) -> None:
    site.host(25)  # so that windows without traffic are unknown, and the counter stays where it is
    fail(site, 3)
    for number in (3, 4):
        site.attempt(START + number * WINDOW + SECOND, "delivered")
    fail(site, 2, 25)
    for number in (1, 2, 3, 4, 5, 26, 27):
        services.judge_due(after(number))
    first, second = Outage.objects.order_by("pk")
    assert first.closed_at == START + 5 * WINDOW
    assert (second.failing_since, second.closed_at) == (START + 25 * WINDOW, None)


def test_what_was_missed_is_one_unknown_row(site: Site) -> None:
    site.host(25)
    services.judge_due(after(50))
    window = Window.objects.get()
    assert (window.start, window.end, window.verdict) == (START, START + 50 * WINDOW, "unknown")
    assert (window.step, site.fresh().counter) == (0, 0)


def test_missed_windows_with_real_deliveries_are_judged_late(site: Site) -> None:
    site.host(25)
    fail(site, 3, 10)
    services.judge_due(after(20))
    rows = Window.objects.order_by("start").values_list("verdict", "counter")
    assert list(rows) == [("unknown", 0), ("failure", 1), ("failure", 2), ("failure", 3), ("unknown", 3)]
    outage = Outage.objects.get()
    assert (outage.failing_since, outage.opened_at) == (START + 10 * WINDOW, after(20))


def test_an_outage_that_came_and_went_unwatched_has_the_times_of_its_windows(site: Site) -> None:
    fail(site, 3, 1)
    for number in (4, 5):
        site.attempt(START + number * WINDOW + SECOND, "delivered")
    services.judge_due(after(20))
    outage = Outage.objects.get()
    assert (outage.opened_at, outage.closed_at) == (START + 4 * WINDOW, START + 6 * WINDOW)


def test_a_route_without_hosts_has_nothing_to_judge(site: Site) -> None:
    services.judge_due(after(1))
    assert Window.objects.get().verdict == "quiet"


def test_an_idle_window_without_a_probe_is_unknown(site: Site) -> None:
    site.host(25)
    services.judge_due(after(1))
    assert Window.objects.get().verdict == "unknown"


def test_a_running_probe_delays_only_its_own_monitor_and_only_until_its_limit(
    make_site: Callable[..., Site],
) -> None:
    slow, other = make_site("slow"), make_site("other")
    for site in (slow, other):
        site.host(25)
    probe = Probe.objects.create(monitor=slow.monitor, window_start=START, started_at=START + 90 * SECOND)
    fail(other, 1)
    services.judge_due(after(1))
    assert [window.monitor for window in Window.objects.all()] == [other.monitor]
    services.judge_due(START + 150 * SECOND)
    assert Window.objects.count() == 1, "it may take 60 s"
    Probe.objects.filter(pk=probe.pk).update(finished_at=START + 149 * SECOND, ok=False, reply="No answer")
    services.judge_due(START + 150 * SECOND)
    window = Window.objects.get(monitor=slow.monitor)
    assert (window.verdict, window.source, window.reply) == ("failure", "probe", "No answer")


def test_a_probe_that_a_crash_left_unfinished_says_nothing(site: Site) -> None:
    site.host(25)
    Probe.objects.create(monitor=site.monitor, window_start=START, started_at=START + 60 * SECOND)
    services.judge_due(START + 122 * SECOND)
    assert not Window.objects.exists()
    services.judge_due(START + 123 * SECOND)
    assert Window.objects.get().verdict == "unknown"


def test_while_mail_waits_the_probe_is_neither_up_nor_down(site: Site) -> None:
    site.host(25)
    fail(site, 2)
    for number in range(2):
        services.judge_due(after(number + 1))
    Probe.objects.create(
        monitor=site.monitor,
        window_start=START + 2 * WINDOW,
        started_at=START + 2 * WINDOW + 60 * SECOND,
        finished_at=START + 2 * WINDOW + 61 * SECOND,
        ok=True,
    )
    services.judge_due(after(3))
    assert site.fresh().counter == 2
    assert Window.objects.latest("end").step == 0


@pytest.mark.parametrize("what", ["paused", "gone"])
def test_paused_or_without_mail_the_probe_counts_down(site: Site, what: str) -> None:
    site.host(25)
    fail(site, 2)
    services.judge_due(after(2))
    if what == "paused":
        Pause.objects.create(account=site.account, started_at=START + 2 * WINDOW + SECOND, started_by="Maria")
    else:
        Recipient.objects.update(state="bounced")
    Probe.objects.create(
        monitor=site.monitor,
        window_start=START + 2 * WINDOW,
        started_at=START + 2 * WINDOW + 60 * SECOND,
        finished_at=START + 2 * WINDOW + 61 * SECOND,
        ok=True,
    )
    services.judge_due(after(3))
    assert site.fresh().counter == 1


def test_a_new_monitor_is_judged_from_the_present_window_on(site: Site) -> None:
    Monitor.objects.update(judged_until=None)
    services.judge_due(START + 90 * SECOND)
    assert site.fresh().judged_until == START
    assert not Window.objects.exists()


def test_a_monitor_that_is_switched_off_ends_its_outage_and_forgets(site: Site) -> None:
    fail(site, 3)
    services.judge_due(after(3))
    Monitor.objects.update(active=False)
    services.judge_due(after(4))
    assert Outage.objects.get().closed_at == after(4)
    assert AuditEntry.objects.get(action="outage.closed").reason == "The monitor was switched off."
    assert (site.fresh().counter, site.monitor.judged_until) == (0, None)
    assert Window.objects.count() == 3


def test_old_windows_and_probes_go_at_midnight(site: Site) -> None:
    day = timedelta(days=1)
    for age in (89, 91, 92):
        old = START - age * day
        Window.objects.create(
            monitor=site.monitor, start=old, end=old + WINDOW, verdict="quiet", step=0, counter=0
        )
        Probe.objects.create(monitor=site.monitor, window_start=old, started_at=old)
    services.judge_due(after(1))
    assert Window.objects.count() == 4
    midnight = START + timedelta(hours=12)
    services.judge_due(midnight + 3 * SECOND)
    assert Window.objects.filter(end__lt=START).get().start == START - 89 * day
    assert set(Probe.objects.values_list("window_start", flat=True)) == {START - 89 * day}


def test_queries_do_not_grow_with_the_monitors(make_site: Callable[..., Site]) -> None:
    def queries(now: datetime) -> int:
        with CaptureQueriesContext(connection) as captured:
            services.judge_due(now)
        return len(captured)

    fail(make_site("site0"), 3)
    few = queries(after(1))
    idle = queries(after(1))
    for number in range(1, 20):
        fail(make_site(f"site{number}", judged_until=START + WINDOW), 3)
    assert queries(after(2)) == few
    assert Window.objects.count() == 21
    assert queries(after(2)) == idle


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_judge_each_window_once(make_site: Callable[..., Site]) -> None:
    for number in range(12):
        fail(make_site(f"site{number}"), 4)

    def work(_number: int) -> int:
        close_old_connections()
        try:
            return sum(services.judge_due(after(window)) for window in range(1, 5))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as executor:
        judged = sum(executor.map(work, range(4)))
    services.judge_due(after(4))
    assert Window.objects.count() == 48
    assert judged <= 48
    assert Outage.objects.count() == 12
    assert AuditEntry.objects.filter(action="outage.opened").count() == 12
    assert set(Monitor.objects.values_list("counter", flat=True)) == {3}
    assert Account.objects.count() == 12
