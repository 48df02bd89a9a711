"""The geometry of the counter chart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitoring.charts import BASE, LEFT, MARK_WIDTH, RIGHT, TOP, WIDTH, Band, counter_chart
from monitoring.replay import MOST_WINDOWS, Stretch
from tests.monitoring.conftest import START, WINDOW

TEN = 10 * WINDOW
RIGHT_EDGE = WIDTH - RIGHT


def stretch(begin: int, windows: int, first: int, last: int, verdict: str = "failure") -> Stretch:
    step = {"failure": 1, "success": -1, "unknown": 0}[verdict]
    return Stretch(
        START + begin * WINDOW, START + (begin + windows) * WINDOW, verdict, step, windows, first, last
    )


def test_the_line_is_flat_within_windows_and_steps_at_their_ends() -> None:
    middle = round(LEFT + (RIGHT_EDGE - LEFT) / 2, 1)
    parts = [stretch(0, 1, 0, 0, "success"), stretch(1, 1, 1, 1)]
    chart = counter_chart(parts, [], threshold=1, since=START, until=START + 2 * WINDOW)
    corners = [(LEFT, BASE), (RIGHT_EDGE, BASE), (RIGHT_EDGE, TOP), (RIGHT_EDGE, TOP)]
    assert chart.line == " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    flat = counter_chart([stretch(0, 500, 1, 1)], [], threshold=1, since=START, until=START + 500 * WINDOW)
    assert flat.line.count(",") == 2, "windows at one height are one stretch"
    outage = [(START + WINDOW, None)]
    drawn = counter_chart(parts, outage, threshold=1, since=START, until=START + 2 * WINDOW)
    assert drawn.outages == [Band(middle, round(RIGHT_EDGE - middle, 1))]


def test_a_stretch_rises_window_by_window_and_then_stays_at_the_threshold() -> None:
    chart = counter_chart([stretch(0, 10, 1, 3)], [], threshold=3, since=START, until=START + TEN)
    heights = [float(corner.split(",")[1]) for corner in chart.line.split()]
    assert heights == [90 + 20, 90 + 20, 70, 70, TOP, TOP]
    assert (chart.highest, chart.now) == (3, 3)


def test_after_an_outage_the_line_lies_at_the_bottom() -> None:
    parts = [stretch(0, 3, 1, 3), stretch(3, 97, 2, 0, "success")]
    chart = counter_chart(parts, [], threshold=3, since=START, until=START + 100 * WINDOW)
    low = [corner for corner in chart.line.split() if corner.endswith(f",{BASE:.1f}")]
    assert float(low[0].split(",")[0]) == pytest.approx(LEFT + 0.06 * (RIGHT_EDGE - LEFT), abs=0.1)
    assert len(low) == 2, "down at the end of the sixth window, and there it stays"


def test_levels_outages_and_gaps_lie_within_the_drawing() -> None:
    chart = counter_chart(
        [stretch(0, 3, 1, 3), stretch(3, 7, 3, 3, "unknown")],
        [
            (START - TEN, START - WINDOW),
            (START - WINDOW, START + WINDOW),
            (START + 2 * WINDOW, START + 3 * WINDOW),
        ],
        threshold=5,
        since=START,
        until=START + TEN,
    )
    assert (chart.opens.y, chart.opens.value, chart.closes.value) == (TOP, 5, 2)
    assert [band.x for band in chart.outages] == [
        LEFT,
        pytest.approx(LEFT + 0.2 * (RIGHT_EDGE - LEFT), abs=0.1),
    ]
    assert len(chart.gaps) == 1
    assert chart.gaps[0].x + chart.gaps[0].width == pytest.approx(RIGHT_EDGE, abs=0.1)


def test_a_counter_above_a_lowered_threshold_still_fits() -> None:
    chart = counter_chart([stretch(0, 1, 10, 10)], [], threshold=3, since=START, until=START + TEN)
    assert TOP < chart.opens.y < BASE


def test_alerts_that_would_overlap_are_one_mark_with_their_number() -> None:
    alerts = [START, START + timedelta(seconds=1), START + 5 * WINDOW, START + 2 * TEN]
    silences = [(START - WINDOW, START + WINDOW), (START - TEN, START - WINDOW)]
    chart = counter_chart(
        [stretch(0, 10, 0, 0, "success")],
        [],
        threshold=3,
        since=START,
        until=START + TEN,
        alerts=alerts,
        silences=silences,
    )
    assert [(mark.number, mark.at) for mark in chart.alerts] == [(2, alerts[1]), (1, alerts[2])]
    assert chart.alerts[1].x - chart.alerts[0].x >= MARK_WIDTH
    assert chart.alerted == 3, "one is after the end"
    assert [band.x for band in chart.silences] == [LEFT]


def test_a_month_that_goes_up_and_down_is_drawn_small_and_keeps_its_peak() -> None:
    parts = [
        stretch(number, 1, 1 - number % 2, 1 - number % 2, "success" if number % 2 else "failure")
        for number in range(MOST_WINDOWS)
    ]
    parts[9_000] = stretch(9_000, 1, 5, 5)
    chart = counter_chart(parts, [], threshold=5, since=START, until=START + MOST_WINDOWS * WINDOW)
    assert len(chart.line) < 30_000
    assert f",{TOP:.1f}" in chart.line
