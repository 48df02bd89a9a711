"""The design system keeps its promises: contrast, weight, one scale, nothing from elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from continuity_site.charts import flow_chart, nice_ceiling
from delivery.reads import Rate

CSS = Path(__file__).parents[2] / "static" / "css"
TOKENS = (CSS / "tokens.css").read_text()
PAIRS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([a-z]+(?:-[a-z0-9]+)?): light-dark\((#\w{6}), (#\w{6})\)", TOKENS
    )
}
STATES = ("green", "amber", "red", "blue")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT = [(f"grey-{ink}", f"grey-{paper}") for ink in (7, 8, 9, 10) for paper in (1, 2, 3)]
TEXT += [(f"{state}-ink", paper) for state in STATES for paper in (f"{state}-tint", "grey-2")]
TEXT += [("grey-2", "grey-10"), ("grey-2", "grey-8")]
SHAPES = [(state, paper) for state in STATES for paper in (f"{state}-tint", "grey-2", "grey-3")]
SHAPES += [("grey-6", "grey-2"), ("grey-6", "grey-1")]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("least", "pairs"), [(4.5, TEXT), (3.0, SHAPES)], ids=["text", "shapes"])
def test_contrast_is_enough(scheme: int, least: float, pairs: list[tuple[str, str]]) -> None:
    found = {pair: contrast(PAIRS[pair[0]][scheme], PAIRS[pair[1]][scheme]) for pair in pairs}
    assert {pair: round(value, 2) for pair, value in found.items() if value < least} == {}


def test_there_are_ten_greys_and_four_states() -> None:
    assert sum(name.startswith("grey") for name in PAIRS) == 10
    assert {name for name in PAIRS if "-" not in name} == set(STATES)


def test_styles_are_light_and_load_nothing() -> None:
    sheets = {path.name: path.read_text() for path in CSS.glob("*.css")}
    assert sum(len(text.encode()) for text in sheets.values()) < 25_000
    for name, text in sheets.items():
        assert not re.search(r"url\(|@import|@font-face|expression\(", text), name


def test_colours_are_only_in_the_tokens() -> None:
    for path in CSS.glob("*.css"):
        if path.name != "tokens.css":
            text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=\s*[;,)}])|rgba?\(", text), path.name


def test_templates_have_no_inline_style_or_script() -> None:
    templates = CSS.parents[1] / "templates"
    # A mail carries its own styles.
    pages = [path for path in templates.rglob("*.html") if path.name != "_mail.html"]
    assert len(pages) > 20
    for path in pages:
        found = re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", path.read_text())
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize("value", [0, 1, 4, 5, 29, 31, 99, 208, 1001, 28_000, 999_999])
def test_the_top_of_an_axis_is_even_and_close(value: int) -> None:
    top = nice_ceiling(value)
    assert top % 2 == 0
    assert value <= top <= max(4, 1.5 * value)


def test_the_flow_chart_stays_in_its_frame() -> None:
    hour = timedelta(hours=1)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    rates = [Rate(start + n * hour, start + (n + 1) * hour, n * 7, n * 5) for n in range(48)]
    chart = flow_chart(rates)
    assert all(0 <= bar.y <= bar.y + bar.height <= chart.base for bar in chart.bars)
    assert all(bar.width > 0 and bar.x + bar.width <= chart.width for bar in chart.bars)
    assert len(chart.line.split()) == 48
    assert (chart.accepted, chart.delivered) == (sum(range(48)) * 7, sum(range(48)) * 5)
    assert flow_chart([]).bars == []
