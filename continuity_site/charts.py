"""Charts as plain geometry: the template draws them as SVG, with the numbers behind them as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from delivery.reads import Rate

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 132, 34, 18, 8


@dataclass(frozen=True)
class Bar:
    """One bar, in the units of the drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Tick:
    """A line across the drawing (`at` is y) or a time under it (`at` is x)."""

    at: float
    label: str | datetime


@dataclass(frozen=True)
class FlowChart:
    """Mail taken (bars) and delivered (line) over time."""

    width: int
    height: int
    left: int
    base: int
    bars: list[Bar]
    line: str
    rows: list[Tick]
    columns: list[Tick]
    rates: Sequence[Rate]
    accepted: int
    delivered: int


def flow_chart(rates: Sequence[Rate]) -> FlowChart:
    """The mail flow of `rates`, the oldest first."""
    top = nice_ceiling(max((max(rate.accepted, rate.delivered) for rate in rates), default=0))
    base = HEIGHT - BOTTOM
    step = (WIDTH - LEFT) / max(len(rates), 1)

    def y(value: float) -> float:
        return round(base - (base - TOP) * value / top, 1)

    bars = [
        Bar(
            round(LEFT + step * n + 1, 1),
            y(rate.accepted),
            round(step - 2, 1),
            round(base - y(rate.accepted), 1),
        )
        for n, rate in enumerate(rates)
    ]
    points = [f"{LEFT + step * (n + 0.5):.1f},{y(rate.delivered)}" for n, rate in enumerate(rates)]
    return FlowChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        base=base,
        bars=bars,
        line=" ".join(points),
        rows=[Tick(y(value), f"{value:,}") for value in (0, top // 2, top)],
        columns=[Tick(round(LEFT + step * n, 1), rates[n].start) for n in range(8, len(rates), 8)],
        rates=rates,
        accepted=sum(rate.accepted for rate in rates),
        delivered=sum(rate.delivered for rate in rates),
    )


def nice_ceiling(value: int) -> int:
    """A round even number that is not much above `value`, and at least 4: the top of an axis."""
    unit = 1
    while True:
        for factor in (4, 6, 8, 10, 12, 16, 20, 30):
            if value <= factor * unit:
                return factor * unit
        unit *= 10
