"""Windows become verdicts, and verdicts outages. Each window is judged once, by whoever comes first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from accounts.services import SCHEDULER, decision
from delivery import reads
from delivery.models import Pause, RouteHost
from monitoring import rules
from monitoring.models import Monitor, Outage, Probe, Window
from monitoring.services import housekeeping, outages, roundtrips, selfcheck
from monitoring.signals import outages_moved

# Monitors judged with one set of queries.
BATCH = 500
_MUTABLE = (
    "account_id",
    "route_id",
    "outbound_host",
    "outbound_latency_seconds",
    "window_seconds",
    "threshold",
    "counter",
    "judged_until",
)


@dataclass(frozen=True)
class Run:
    """The windows of one monitor that can be judged now, as seen before anything is locked."""

    monitor: Monitor
    outage: Outage | None
    judged: list[rules.Judged]

    @property
    def decides(self) -> bool:
        return any(window.opens or window.closes for window in self.judged)

    @property
    def until(self) -> datetime:
        return self.judged[-1].end


def judge_due(now: datetime) -> int:
    """Judge all complete windows of all active monitors; open and close outages. Returns how many windows.

    A window whose probe is still under way is left for later. Waits for nobody, but for the seconds that
    looking at ourselves may take before a failure counts.
    """
    housekeeping.reset_switched_off(now)
    housekeeping.forget_the_future(now)
    _begin_new(now)
    judged = 0
    due = [monitor for monitor in _active() if next(_complete(monitor, now), None)]
    for first in range(0, len(due), BATCH):
        runs = _excused(list(_runs(due[first : first + BATCH], now)), now)
        judged += _write_plain([run for run in runs if not run.decides])
        deciding = sorted((run for run in runs if run.decides), key=lambda run: run.monitor.account_id)
        for account_id, of_account in groupby(deciding, key=lambda run: run.monitor.account_id):
            judged += _write_deciding(account_id, list(of_account), now)
        if deciding:
            outages_moved.send_robust(Outage)
        housekeeping.delete_old_of([run.monitor.pk for run in runs if _passed_midnight(run)], now)
    return judged


def _active() -> QuerySet[Monitor]:
    return Monitor.objects.watching().filter(judged_until__isnull=False).only(*_MUTABLE).order_by("pk")


def _begin_new(now: datetime) -> None:
    """A monitor that was switched on is judged from the window on that is running then."""
    fresh = Monitor.objects.watching().filter(judged_until=None)
    for seconds in set(fresh.values_list("window_seconds", flat=True)):
        fresh.filter(window_seconds=seconds).update(judged_until=rules.window_start(now, seconds))


def _complete(monitor: Monitor, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    assert monitor.judged_until
    return rules.complete_windows(monitor.judged_until, monitor.window_seconds, now)


def _passed_midnight(run: Run) -> bool:
    assert run.monitor.judged_until
    return run.monitor.judged_until.date() != run.until.date()


# --- What is known ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """Everything a batch of monitors is judged by, read in a constant number of queries."""

    now: datetime
    seen: dict[tuple[int, int, datetime], reads.Evidence]
    probes: dict[tuple[int, datetime], Probe]
    failed_mail: set[int]
    probeable: set[int]
    pauses: dict[int, list[Pause]]
    trips: dict[int, roundtrips.Trips]

    @classmethod
    def of(cls, monitors: Sequence[Monitor], now: datetime) -> _Known:
        windows = {monitor.pk: list(_complete(monitor, now)) for monitor in monitors}
        since = max(min(found[0][0] for found in windows.values()), now - rules.CATCH_UP - timedelta(hours=1))
        until = max(found[-1][1] for found in windows.values())
        routes = {monitor.route_id for monitor in monitors if monitor.route_id}
        seen: dict[tuple[int, int, datetime], reads.Evidence] = {}
        for seconds in {monitor.window_seconds for monitor in monitors}:
            like = [monitor for monitor in monitors if monitor.window_seconds == seconds]
            own = {monitor.route_id for monitor in like if monitor.route_id}
            found = reads.evidence_by_window(own, seconds, rules.window_start(since, seconds), until)
            seen |= {(route_id, seconds, start): evidence for (route_id, start), evidence in found.items()}
        probes = Probe.objects.filter(
            kind=Probe.Kind.INBOUND, monitor__in=monitors, window_start__gte=since, window_start__lt=until
        )
        return cls(
            now=now,
            seen=seen,
            probes={(probe.monitor_id, probe.window_start): probe for probe in probes},
            failed_mail=reads.routes_with_failed_mail(routes),
            probeable=set(RouteHost.objects.filter(route_id__in=routes).values_list("route_id", flat=True)),
            pauses=_pauses({monitor.account_id for monitor in monitors}, since, until),
            trips=roundtrips.of_monitors(monitors, since, until),
        )

    def evidence(self, monitor: Monitor, start: datetime, end: datetime) -> rules.Evidence:
        if end - start != timedelta(seconds=monitor.window_seconds):
            return rules.Evidence(looked=False)  # a gap, or what is left after the window length changed
        real = self.seen.get((monitor.route_id or 0, monitor.window_seconds, start), reads.Evidence())
        probe = self.probes.get((monitor.pk, start))
        result = (
            rules.ProbeResult(probe.finished_at, bool(probe.ok), probe.reply)
            if probe and probe.finished_at
            else None
        )
        # Without a host there is nothing to look at; else a window without a probe was not looked at.
        trips = self.trips.get(monitor.pk)
        in_time = self.now - end < timedelta(seconds=max(rules.PROBE_LIMIT_SECONDS, monitor.window_seconds))
        return rules.Evidence(
            deliveries=real.deliveries,
            failures=real.failures,
            last_success_at=real.last_success_at,
            last_failure_at=real.last_failure_at,
            failure_reply=real.last_failure_reply,
            probe=result,
            mail_waits=monitor.route_id in self.failed_mail,
            paused=any(
                pause.started_at < end and (pause.ended_at is None or pause.ended_at >= end)
                for pause in self.pauses.get(monitor.account_id, ())
            ),
            looked=result is not None or (monitor.route_id not in self.probeable and in_time),
            inbound=monitor.has_inbound,
            outbound=monitor.has_outbound,
            round_trip=trips.result_in(start) if trips else None,
            under_way=bool(trips and trips.under_way(end)),
        )

    def still_probing(self, monitor: Monitor, start: datetime) -> bool:
        probe = self.probes.get((monitor.pk, start))
        if probe is None or probe.finished_at:
            return False
        limit = timedelta(seconds=rules.probe_limit(monitor.window_seconds)) + rules.PROBE_SLACK
        return self.now < probe.started_at + limit


def _pauses(account_ids: Collection[int], since: datetime, until: datetime) -> dict[int, list[Pause]]:
    pauses: dict[int, list[Pause]] = {}
    for pause in Pause.objects.filter(
        Q(ended_at=None) | Q(ended_at__gt=since), account_id__in=account_ids, started_at__lt=until
    ):
        pauses.setdefault(pause.account_id, []).append(pause)
    return pauses


def _runs(monitors: Sequence[Monitor], now: datetime) -> Iterator[Run]:
    known = _Known.of(monitors, now)
    lasting = {
        outage.monitor_id: outage for outage in Outage.objects.filter(monitor__in=monitors, closed_at=None)
    }
    for monitor in monitors:
        windows = []
        for start, end in _complete(monitor, now):
            if known.still_probing(monitor, start):
                break
            windows.append((start, end, known.evidence(monitor, start, end)))
        judged = rules.run(
            windows,
            counter=monitor.counter,
            threshold=monitor.threshold,
            outage_open=monitor.pk in lasting,
        )
        if judged:
            yield Run(monitor, lasting.get(monitor.pk), judged)


def _excused(runs: Sequence[Run], now: datetime) -> list[Run]:
    """The runs again, judged with what is wrong with ourselves. Without a failure nobody looks."""
    failing = [(run.monitor, one) for run in runs for one in run.judged if one.judgement.step > 0]
    faults = selfcheck.local_faults(failing, now) if failing else {}
    return [
        replace(
            run,
            judged=rules.run(
                selfcheck.with_faults(run.judged, faults[run.monitor.pk]),
                counter=run.monitor.counter,
                threshold=run.monitor.threshold,
                outage_open=run.outage is not None,
            ),
        )
        if run.monitor.pk in faults
        else run
        for run in runs
    ]


# --- What is written ----------------------------------------------------------------------------------------


def _write_plain(runs: Sequence[Run]) -> int:
    """The runs in which no outage opens or closes: progress, not decisions, so without the account lock."""
    if not runs:
        return 0
    with transaction.atomic():
        return len(_write_windows(runs, _unchanged(runs)))


def _write_deciding(account_id: int, runs: Sequence[Run], now: datetime) -> int:
    """The runs of one account in which an outage opens or closes."""
    written = 0
    with decision(account_id, SCHEDULER, now=now) as taken:
        unchanged = _unchanged(runs)
        for run in runs:
            if run.monitor.pk in unchanged:
                written += len(_write_windows([run], {run.monitor.pk: unchanged[run.monitor.pk]}))
                outages.move(taken, run.monitor, run.outage, run.judged)
    return written


def _unchanged(runs: Sequence[Run]) -> dict[int, Monitor]:
    """Lock the monitors of `runs` that are as they were when their windows were looked at."""
    rows = Monitor.objects.filter(pk__in=[run.monitor.pk for run in runs], active=True).order_by("pk")
    skip = connection.features.has_select_for_update_skip_locked
    seen = {run.monitor.pk: run for run in runs}
    same = {}
    for monitor in rows.select_for_update(no_key=True, skip_locked=skip):
        then = seen[monitor.pk].monitor
        if all(getattr(monitor, name) == getattr(then, name) for name in _MUTABLE):
            same[monitor.pk] = monitor
    return same


def _write_windows(runs: Sequence[Run], unchanged: dict[int, Monitor]) -> list[Window]:
    monitors, windows = [], []
    for run in runs:
        monitor = unchanged.get(run.monitor.pk)
        if monitor is None:
            continue
        monitor.counter, monitor.judged_until = run.judged[-1].counter, run.until
        monitors.append(monitor)
        windows += [_row(monitor, judged) for judged in run.judged]
    Window.objects.bulk_create(windows)
    Monitor.objects.bulk_update(monitors, ["counter", "judged_until"])
    return windows


def _row(monitor: Monitor, judged: rules.Judged) -> Window:
    return Window(
        monitor=monitor,
        start=judged.start,
        end=judged.end,
        verdict=judged.judgement.verdict,
        counter=judged.counter,
        step=judged.judgement.step,
        deliveries=judged.evidence.deliveries,
        failures=judged.evidence.failures,
        source=judged.judgement.source,
        reply=judged.judgement.reply,
    )
