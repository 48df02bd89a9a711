"""The queue over time as plain geometry; the template draws it as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from delivery.reads.history import Depth

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 640, 150, 44, 44, 18, 8


@dataclass(frozen=True)
class Mark:
    """A line across the drawing with what it stands for on either side, or a time under it."""

    at: float
    left: str
    right: str = ""
    time: datetime | None = None


@dataclass(frozen=True)
class QueueChart:
    """Waiting recipients (area, scale at the left) and deliveries a minute (line, scale at the right)."""

    width: int
    height: int
    left: int
    right: int
    base: int
    area: str
    line: str
    rows: list[Mark]
    columns: list[Mark]
    points: Sequence[Depth]
    deepest: int
    fastest: int


def queue_chart(points: Sequence[Depth]) -> QueueChart | None:
    """None when there are fewer than two points: nothing waited."""
    if len(points) < 2:
        return None
    deepest = max(point.queued for point in points)
    fastest = round(max(point.per_minute for point in points))
    top, rate_top = ceiling(deepest), ceiling(fastest)
    begin, span = points[0].at, (points[-1].at - points[0].at).total_seconds()
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(at: datetime) -> float:
        return round(LEFT + (right - LEFT) * (at - begin).total_seconds() / span, 1)

    def y(value: float, most: int) -> float:
        return round(base - (base - TOP) * value / most, 1)

    depth = [f"{x(point.at)},{y(point.queued, top)}" for point in points]
    rate = [f"{x(point.at)},{y(point.per_minute, rate_top)}" for point in points]
    rows = [
        Mark(y(part * top / 2, top), f"{part * top // 2:,}", f"{part * rate_top // 2:,}")
        for part in (0, 1, 2)
    ]
    quarter = (points[-1].at - begin) / 4
    times = [begin + quarter * part for part in (1, 2, 3)]
    return QueueChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=right,
        base=base,
        area=" ".join([f"{x(begin)},{base}", *depth, f"{right},{base}"]),
        line=" ".join(rate),
        rows=rows,
        columns=[Mark(x(at), "", time=at) for at in times],
        points=points,
        deepest=deepest,
        fastest=fastest,
    )


def ceiling(value: int) -> int:
    """A round even number that is not below `value`, and at least 4: the top of an axis."""
    unit = 1
    while True:
        for factor in (4, 6, 8, 10, 12, 16, 20, 30):
            if value <= factor * unit:
                return factor * unit
        unit *= 10
