"""The counter of a monitor over time, as plain geometry: the template draws it as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# In the units of the drawing.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 150, 30, 8, 12, 18
BASE = HEIGHT - BOTTOM
COLUMNS = 6


@dataclass(frozen=True)
class Point:
    """The counter after one window, judged `[start, end)`; `known` is False where nobody looked."""

    start: datetime
    end: datetime
    counter: int
    known: bool = True


@dataclass(frozen=True)
class Band:
    """A stretch of time from `x`, `width` wide."""

    x: float
    width: float


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
    columns: list[Column]
    since: datetime
    until: datetime
    highest: int
    now: int

    @property
    def depth(self) -> int:
        return self.base - self.top


def counter_chart(
    points: Sequence[Point],
    outages: Iterable[tuple[datetime, datetime | None]],
    *,
    threshold: int,
    since: datetime,
    until: datetime,
) -> CounterChart:
    """The chart from `since` to `until`. `points` are oldest first; outages are (opened, closed or None)."""
    length = (until - since) / timedelta(seconds=1)
    top = max([threshold, *(point.counter for point in points)])

    def x(at: datetime) -> float:
        share = (min(max(at, since), until) - since) / timedelta(seconds=1) / length
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    def y(counter: int) -> float:
        return round(BASE - (BASE - TOP) * counter / top, 1)

    def band(start: datetime, end: datetime) -> Band:
        return Band(x(start), max(round(x(end) - x(start), 1), 1))

    return CounterChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        top=TOP,
        base=BASE,
        line=" ".join(_steps([(x(point.start), x(point.end), y(point.counter)) for point in points])),
        opens=Level(y(threshold), threshold),
        closes=Level(y(threshold // 2), threshold // 2),
        outages=[
            band(opened, closed or until)
            for opened, closed in outages
            if opened < until and (closed is None or closed > since)
        ],
        gaps=[band(point.start, point.end) for point in points if not point.known],
        columns=[
            Column(x(at), at)
            for at in (since + (until - since) * number / COLUMNS for number in range(1, COLUMNS))
        ],
        since=since,
        until=until,
        highest=max((point.counter for point in points), default=0),
        now=points[-1].counter if points else 0,
    )


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
