"""The counter drawn over time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext

from monitoring import services
from monitoring.charts import BASE, LEFT, RIGHT, TOP, WIDTH, Band, Point, counter_chart
from monitoring.models import Window
from tests.monitoring.conftest import START, WINDOW, Site

TEN = 10 * WINDOW


def points(*counters: int) -> list[Point]:
    return [
        Point(START + number * WINDOW, START + (number + 1) * WINDOW, counter)
        for number, counter in enumerate(counters)
    ]


def test_the_line_is_flat_within_windows_and_steps_at_their_ends() -> None:
    right = WIDTH - RIGHT
    middle = round(LEFT + (right - LEFT) / 2, 1)
    chart = counter_chart(points(0, 1), [], threshold=1, since=START, until=START + 2 * WINDOW)
    assert (
        chart.line
        == f"{LEFT:.1f},{BASE:.1f} {right:.1f},{BASE:.1f} {right:.1f},{TOP:.1f} {right:.1f},{TOP:.1f}"
    )
    flat = counter_chart(points(*[1] * 500), [], threshold=1, since=START, until=START + 500 * WINDOW)
    assert flat.line.count(",") == 2, "windows at one height are one stretch"
    outage = [(START + WINDOW, None)]
    assert counter_chart(
        points(0, 1), outage, threshold=1, since=START, until=START + 2 * WINDOW
    ).outages == [Band(middle, round(right - middle, 1))]


def test_levels_outages_and_gaps_lie_within_the_drawing() -> None:
    chart = counter_chart(
        [*points(1, 2, 3), Point(START + 3 * WINDOW, START + TEN, 3, known=False)],
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
    assert (chart.highest, chart.now) == (3, 3)
    assert [band.x for band in chart.outages] == [
        LEFT,
        pytest.approx(LEFT + 0.2 * (WIDTH - LEFT - RIGHT), abs=0.1),
    ]
    assert len(chart.gaps) == 1
    assert chart.gaps[0].x + chart.gaps[0].width == pytest.approx(WIDTH - RIGHT, abs=0.1)


def test_a_counter_above_a_lowered_threshold_still_fits() -> None:
    chart = counter_chart(points(10), [], threshold=3, since=START, until=START + TEN)
    assert TOP < chart.opens.y < BASE


def test_the_tag_draws_well_formed_svg_with_title_and_summary(site: Site) -> None:
    render = Template("{% load monitoring_charts %}{% counter_chart monitor %}").render
    with time_machine.travel(START + 4 * WINDOW, tick=False):
        assert "begins with the first judged window" in render(Context({"monitor": site.monitor}))
        for number in range(3):
            site.attempt(START + number * WINDOW, "host_failure")
            services.judge_due(START + (number + 1) * WINDOW + timedelta(seconds=1))
        Window.objects.create(
            monitor=site.monitor,
            start=START - WINDOW,
            end=START,
            verdict="unknown",
            step=0,
            counter=0,
        )
        with CaptureQueriesContext(connection) as queries:
            page = render(Context({"monitor": site.monitor}))
    assert len(queries) == 2
    assert "style=" not in page
    svg = ET.fromstring(page[: page.index("</svg>") + 6])
    names = [child.tag for child in svg]
    assert names[:2] == ["title", "desc"]
    assert "at most 3" in (svg[1].text or "")
    assert "1 outage in" in (svg[1].text or "")
    assert [child.get("class") for child in svg if child.tag == "rect"] == ["band grey", "band red"]
