"""What another threshold would have done: stored windows through the same counter, and what to choose.

Pure: plain values in, plain values out. All datetimes are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitoring import rules

# A month of 2-minute windows; of shorter windows so many are less.
MOST_WINDOWS = 21_600
REPLAYED = timedelta(days=30)
# From less than so many windows, 7 days of the usual ones, nothing is recommended.
LEAST_WINDOWS = 5_040
# An outage that is over within so many windows, half an hour of the usual ones, is a short one: it was gone
# before anybody could do something. More than so many of them are noise.
SHORT_WINDOWS, SHORT_ONES_BORNE = 15, 2
PRESETS = (rules.HIGH_SENSITIVITY, rules.MEDIUM_SENSITIVITY, rules.LOW_SENSITIVITY)


@dataclass(frozen=True)
class Stretch:
    """`windows` consecutive windows that say the same, in `[start, end)`.

    `first` and `last` are the monitor's counter after the first and the last of them, as it was judged then.
    """

    start: datetime
    end: datetime
    verdict: str
    step: int
    windows: int
    first: int
    last: int

    def end_of(self, number: int) -> datetime:
        """The end of the window of this number, the first being 1."""
        return self.start + (self.end - self.start) / self.windows * number


@dataclass(frozen=True)
class Replayed:
    """An outage as a threshold would have opened it. `spans`: each time it was open, opened and closed.

    Reopened soon it is the same outage, with one more span. The last one is open while it has no end.
    """

    failing_since: datetime
    spans: tuple[tuple[datetime, datetime | None], ...]

    @property
    def opened_at(self) -> datetime:
        return self.spans[0][0]

    @property
    def closed_at(self) -> datetime | None:
        return self.spans[-1][1]

    @property
    def noticed_after(self) -> timedelta:
        """From its first failed window to its opening, when the first alert is decided."""
        return self.opened_at - self.failing_since

    def open_for(self, now: datetime) -> timedelta:
        """How long it was open in all."""
        return sum(((closed or now) - opened for opened, closed in self.spans), timedelta())

    def meets(self, other: Replayed) -> bool:
        """Whether both say something about the same time."""
        mine, theirs = self.closed_at, other.closed_at
        before = mine is not None and mine <= other.failing_since
        after = theirs is not None and theirs <= self.failing_since
        return not before and not after


def replay(stretches: Iterable[Stretch], threshold: int) -> list[Replayed]:
    """The outages that these stretches, oldest first, would have opened with this threshold.

    Where windows are missing the monitor was off: as then, the counter begins again and an outage ends.
    """
    outages: list[Replayed] = []
    counter, is_open, recovered = 0, False, True
    since: datetime | None = None
    last: datetime | None = None
    for stretch in stretches:
        if last is not None and stretch.start != last:
            if is_open:
                outages[-1], recovered = _closed(outages[-1], last), False
            counter, is_open, since = 0, False, None
        last = stretch.end
        for number in range(1, stretch.windows + 1):
            before = counter
            counter, opening, closing = rules.turn(counter, stretch.step, threshold, is_open)
            if stretch.step > 0 and since is None:
                since = stretch.end_of(number - 1)
            if opening:
                is_open = True
                assert since
                _open(outages, since, stretch.end_of(number) + rules.GRACE, recovered)
            elif closing:
                is_open, recovered = False, True
                outages[-1] = _closed(outages[-1], stretch.end_of(number))
            elif counter == before:
                break  # so it stays to the end of the stretch
            if closing or not counter:
                since = None
    return outages


def _open(outages: list[Replayed], since: datetime, at: datetime, recovered: bool) -> None:
    """`at` is when the window was judged: one second after its end. `recovered`: the last one ended well."""
    if outages and recovered and rules.is_same_outage(outages[-1].closed_at, at):
        outages[-1] = replace(outages[-1], spans=(*outages[-1].spans, (at, None)))
    else:
        outages.append(Replayed(since, ((at, None),)))


def _closed(outage: Replayed, at: datetime) -> Replayed:
    opened = outage.spans[-1][0]
    return replace(outage, spans=(*outage.spans[:-1], (opened, max(opened, at))))


@dataclass(frozen=True)
class Outcome:
    """What a threshold would have done until `now`."""

    threshold: int
    outages: Sequence[Replayed]
    now: datetime

    @property
    def longest(self) -> Replayed | None:
        return max(self.outages, key=lambda one: one.open_for(self.now), default=None)

    @property
    def open_for(self) -> timedelta:
        return sum((one.open_for(self.now) for one in self.outages), timedelta())


@dataclass(frozen=True)
class Advice:
    """The threshold to choose, beside the one that is set."""

    best: Outcome
    current: Outcome

    @property
    def changes(self) -> bool:
        return self.best.threshold != self.current.threshold


def outcomes(stretches: Sequence[Stretch], current: int, now: datetime) -> list[Outcome]:
    """What the three usual thresholds and the current one would have done, the most sensitive first."""
    return [
        Outcome(threshold, replay(stretches, threshold), now) for threshold in sorted({*PRESETS, current})
    ]


def advise(found: Sequence[Outcome], current: int, window: timedelta) -> Advice:
    """The most sensitive of these thresholds that sees every lasting outage and seldom opens a short one.

    Where none is that quiet, the quietest. A change must be worth it: a less sensitive one has fewer outages,
    a more sensitive one not more of them.
    """
    short = SHORT_WINDOWS * window
    lasting = [one for outcome in found for one in outcome.outages if one.open_for(outcome.now) > short]

    def rank(outcome: Outcome) -> tuple[int, int, int]:
        missed = sum(not any(one.meets(outage) for one in outcome.outages) for outage in lasting)
        noise = sum(one.open_for(outcome.now) <= short for one in outcome.outages)
        return missed, max(0, noise - SHORT_ONES_BORNE), outcome.threshold

    now_used = next(one for one in found if one.threshold == current)
    best = min(found, key=rank)
    fewer = len(now_used.outages) - len(best.outages)
    worth_it = fewer > 0 if best.threshold > current else fewer >= 0 and bool(best.outages)
    return Advice(best if worth_it else now_used, now_used)
