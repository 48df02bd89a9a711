"""What a monitor's page asks about its windows. Read-only; all datetimes are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from django.db.models import CharField, Q
from django.db.models.functions import Cast

from monitoring.models import Monitor, Outage, Window
from monitoring.replay import Stretch

# So many failed windows are shown of what led to one outage.
MOST_FAILED = 12
# What was read of so many monitors is kept, and read anew after so long.
MOST_KEPT, KEPT_FOR = 100, timedelta(minutes=10)
# By monitor and span: from when on, and its stretches.
_kept: dict[tuple[int, timedelta], tuple[datetime, tuple[Stretch, ...]]] = {}


def latest_stretches(monitor: Monitor, span: timedelta, now: datetime) -> tuple[Stretch, ...]:
    """The stretches of the last `span` or up to ten minutes more; one query.

    Judged windows do not change, so that after the first time only those are read that have been added. Those
    judged by a clock that was ahead go when it is put back: then the monitor is judged from an earlier time.
    """
    key, since = (monitor.pk, span), now - span
    begun, known = _kept.get(key, (since, ()))
    until = known[-1].end if known else begun
    judged_again = monitor.judged_until is not None and monitor.judged_until < until
    if judged_again or until > now or not begun <= since <= begun + KEPT_FOR:
        begun, known, until = since, (), since
    found = _joined(known, stretches(monitor, until, now))
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[key] = begun, found
    return found


def forget_kept() -> None:
    """Read everything anew."""
    _kept.clear()


def _joined(known: tuple[Stretch, ...], added: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Both, with the stretch that goes on across the seam as one."""
    if not known or not added:
        return (*known, *added)
    last, first = known[-1], added[0]
    if (last.end, last.step, last.verdict) != (first.start, first.step, first.verdict):
        return (*known, *added)
    both = replace(last, end=first.end, windows=last.windows + first.windows, last=first.last)
    return (*known[:-1], both, *added[1:])


def stretches(monitor: Monitor, since: datetime, until: datetime) -> list[Stretch]:
    """The windows that end in `(since, until]`, as stretches that say the same, oldest first; one query.

    A month is 21,600 windows, and reading that many times is what takes long: they come as text, and only
    those at which something changes, or before which windows are missing, are made into times.
    """
    rows = (
        Window.objects.filter(monitor=monitor, end__gt=since, end__lte=until)
        .order_by("end")
        .values_list("step", "verdict", Cast("start", CharField()), Cast("end", CharField()), "counter")
    )
    found: list[Stretch] = []
    step, verdict, begun, ended, number, first, last = None, "", "", "", 0, 0, 0
    for step_now, verdict_now, start, end, counter in rows:
        if step_now != step or verdict_now != verdict or start != ended:
            if number:
                found.append(Stretch(_time(begun), _time(ended), verdict, step or 0, number, first, last))
            step, verdict, begun, number, first = step_now, verdict_now, start, 0, counter
        ended, last = end, counter
        number += 1
    if number:
        found.append(Stretch(_time(begun), _time(ended), verdict, step or 0, number, first, last))
    return found


def _time(text: str) -> datetime:
    """A time as the database writes it; SQLite's say nothing of a zone and are UTC."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass
class Why:
    """An outage with the failed windows that led to it, oldest first, and the window that closed it.

    `closing` is None while it lasts, and where no window closed it: the monitor was switched off then.
    """

    outage: Outage
    failed: list[Window] = field(default_factory=list)
    closing: Window | None = None

    @property
    def shown(self) -> list[Window]:
        """The last of them, with the one that opened it."""
        return self.failed[-MOST_FAILED:]

    @property
    def sources(self) -> list[tuple[str, int]]:
        """How many of them each source decided, in the order in which they came first."""
        counts: dict[str, int] = {}
        for window in self.failed:
            counts[window.source] = counts.get(window.source, 0) + 1
        return list(counts.items())


def why(outages: Sequence[Outage]) -> list[Why]:
    """What opened and closed these outages of one monitor; one query."""
    wanted = Q(pk=None)
    for outage in outages:
        wanted |= Q(
            verdict=Window.Verdict.FAILURE, start__gte=outage.failing_since, end__lte=outage.opened_at
        )
        if outage.closed_at:
            wanted |= Q(end=outage.closed_at, step__lt=0)
    found = [Why(outage) for outage in outages]
    if not outages:
        return found
    for window in Window.objects.filter(wanted, monitor_id=outages[0].monitor_id).order_by("end"):
        for one in found:
            if window.step > 0 and one.outage.failing_since <= window.start < one.outage.opened_at:
                one.failed.append(window)
            elif window.step < 0 and window.end == one.outage.closed_at:
                one.closing = window
    return found
