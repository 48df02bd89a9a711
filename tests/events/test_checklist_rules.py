"""How a checklist moves, and when it is called to mind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import checklist_rules as rules

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("state", "done", "after"),
    [
        ("open", False, "open"),
        ("open", True, "settled"),
        ("settled", True, "settled"),
        ("settled", False, "open"),
        ("waived", True, "waived"),
        ("waived", False, "waived"),
    ],
)
def test_an_item_follows_its_matter_unless_it_was_waived(state: str, done: bool, after: str) -> None:
    assert rules.moved(state, done) == after


def test_the_first_reminder_comes_a_day_after_the_first_list_was_opened() -> None:
    opened = [NOON, NOON + 23 * HOUR]
    assert not rules.reminder_due([], None, NOON + 99 * HOUR)
    assert not rules.reminder_due(opened, None, NOON + 24 * HOUR - timedelta(seconds=1))
    assert rules.reminder_due(opened, None, NOON + 24 * HOUR)
    assert not rules.reminder_due(opened, NOON + 24 * HOUR, NOON + 47 * HOUR)


@given(st.lists(st.integers(0, 10 * 86_400), max_size=200))
def test_whoever_asks_however_often_at_most_one_reminder_a_day_comes(asked: list[int]) -> None:
    told: list[datetime] = []
    for seconds in sorted(asked):
        now = NOON + timedelta(seconds=seconds)
        if rules.reminder_due([NOON], told[-1] if told else None, now):
            told.append(now)
    assert all(later - earlier >= rules.REMINDER for earlier, later in pairwise(told))


@pytest.mark.parametrize(
    ("hosts", "tested", "result", "green"),
    [
        ([1, 2], [1, 2], "ok", True),
        ([2], [1, 2], "ok", True),
        ([1, 3], [1, 2], "ok", False),
        ([1], [1], "warning", False),
        ([1], [1], "failed", False),
        ([1], [1], "", False),
    ],
)
def test_a_route_is_green_when_each_present_host_is(
    hosts: list[int], tested: list[int], result: str, green: bool
) -> None:
    assert rules.route_green(hosts, tested, result) is green
