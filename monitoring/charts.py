"""The counter of a monitor over time, as plain geometry: the template draws it as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from monitoring.replay import Stretch
from monitoring.rules import Verdict

# In the units of the drawing. Above the counter alerts are marked, and below them suspensions.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 168, 30, 8, 30, 18
ALERTS, SILENCES = 4, 18
BASE = HEIGHT - BOTTOM
COLUMNS = 6
# Alerts closer to each other than so are one mark. A line of more steps is thinned to its peaks.
MARK_WIDTH, MOST_STEPS = 9, 1000


@dataclass(frozen=True)
class Band:
    """A stretch of time from `x`, `width` wide."""

    x: float
    width: float


@dataclass(frozen=True)
class Mark:
    """`number` alerts at about the same time, the last of them at `at`."""

    x: float
    at: datetime
    number: int


@dataclass(frozen=True)
class Level:
    """A line across the drawing at `y`, for a value of the counter."""

    y: float
    value: int


@dataclass(frozen=True)
class Column:
    """A time under the drawing, at `x`."""

    x: float
    at: datetime


@dataclass(frozen=True)
class CounterChart:
    """Everything the template draws, in its units, and the figures of the summary."""

    width: int
    height: int
    left: int
    top: int
    base: int
    line: str
    opens: Level
    closes: Level
    outages: list[Band]
    gaps: list[Band]
    alerts: list[Mark]
    silences: list[Band]
    columns: list[Column]
    since: datetime
    until: datetime
    highest: int
    now: int

    alert_y: int = ALERTS
    silence_y: int = SILENCES

    @property
    def days(self) -> bool:
        """Whether the times under the drawing are days."""
        return self.until - self.since > timedelta(days=2)

    @property
    def alerted(self) -> int:
        return sum(mark.number for mark in self.alerts)

    @property
    def depth(self) -> int:
        return self.base - self.top


def counter_chart(
    stretches: Sequence[Stretch],
    outages: Iterable[tuple[datetime, datetime | None]],
    *,
    threshold: int,
    since: datetime,
    until: datetime,
    alerts: Iterable[datetime] = (),
    silences: Iterable[tuple[datetime, datetime]] = (),
) -> CounterChart:
    """The chart from `since` to `until`. All is given oldest first; outages are (opened, closed or None).

    `alerts` are the times at which contacts were alerted, `silences` when nobody was.
    """
    length = (until - since) / timedelta(seconds=1)
    shown = [stretch for stretch in stretches if stretch.end > since and stretch.start < until]
    highest = max((max(stretch.first, stretch.last) for stretch in shown), default=0)
    top = max(threshold, highest)

    def x(at: datetime) -> float:
        share = (min(max(at, since), until) - since) / timedelta(seconds=1) / length
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    def y(counter: int) -> float:
        return round(BASE - (BASE - TOP) * counter / top, 1)

    def bands(spans: Iterable[tuple[datetime, datetime | None]]) -> list[Band]:
        return [
            Band(x(start), max(round(x(end or until) - x(start), 1), 1))
            for start, end in spans
            if start < until and (end is None or end > since)
        ]

    return CounterChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        top=TOP,
        base=BASE,
        line=" ".join(
            _steps(_thinned([(x(a), x(b), y(at)) for s in shown for a, b, at in _levels(s) if b > since]))
        ),
        opens=Level(y(threshold), threshold),
        closes=Level(y(threshold // 2), threshold // 2),
        outages=bands(outages),
        gaps=bands((stretch.start, stretch.end) for stretch in shown if stretch.verdict == Verdict.UNKNOWN),
        alerts=_marks([(x(at), at) for at in alerts if since <= at <= until]),
        silences=bands(silences),
        columns=[
            Column(x(at), at)
            for at in (since + (until - since) * number / COLUMNS for number in range(1, COLUMNS))
        ],
        since=since,
        until=until,
        highest=highest,
        now=shown[-1].last if shown else 0,
    )


def _levels(stretch: Stretch) -> Iterator[tuple[datetime, datetime, int]]:
    """The counter after each window while it moves, then until the end of the stretch."""
    towards = 1 if stretch.last > stretch.first else -1
    moves = min(abs(stretch.last - stretch.first), stretch.windows - 1)
    for number in range(moves + 1):
        yield stretch.end_of(number), stretch.end_of(number + 1), stretch.first + towards * number
    if stretch.windows > moves + 1:
        yield stretch.end_of(moves + 1), stretch.end, stretch.last


def _thinned(spans: list[tuple[float, float, float]]) -> Iterable[tuple[float, float, float]]:
    """Of more steps than can be seen, the highest and the last in each column of the drawing."""
    if len(spans) <= MOST_STEPS:
        return spans
    columns = [list(column) for _x, column in groupby(spans, key=lambda span: int(span[0]))]
    return [
        span
        for column in columns
        for span in ((column[0][0], column[-1][1], min(at for _, _, at in column)), column[-1])
    ]


def _marks(alerts: Iterable[tuple[float, datetime]]) -> list[Mark]:
    marks: list[Mark] = []
    for x, at in alerts:
        if marks and x - marks[-1].x < MARK_WIDTH:
            marks[-1] = Mark(marks[-1].x, at, marks[-1].number + 1)
        else:
            marks.append(Mark(x, at, 1))
    return marks


def _steps(spans: Iterable[tuple[float, float, float]]) -> Iterable[str]:
    """A line of steps that moves at the end of each window and is flat between; equal heights in one go."""
    height: float | None = None
    last = 0.0
    for start, end, at in spans:
        if height is None:
            yield f"{start},{at}"
        elif at != height:
            yield f"{end},{height}"
            yield f"{end},{at}"
        height, last = at, end
    if height is not None:
        yield f"{last},{height}"
