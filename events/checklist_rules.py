"""How a checklist moves, and when contacts are reminded of it. Pure: plain values, `now` given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

LOOK = timedelta(seconds=30)
"""The clock looks at the items of an open checklist so often."""

REMINDER = timedelta(hours=24)
"""Contacts are reminded of open checklists once in so long, however many there are."""

OPEN, SETTLED, WAIVED = "open", "settled", "waived"


@dataclass(frozen=True)
class Fact:
    """How the matter of an item is. `by` and `at`: who brought it about and when, where somebody did.

    `details` are for the sentence about it.
    """

    done: bool
    by: str = ""
    at: datetime | None = None
    details: dict[str, Any] = field(default_factory=dict)


def moved(state: str, done: bool) -> str:
    """The state of an item, given the one written down and whether its matter is done just now.

    What was waived stays waived. What was settled is open again when its matter is undone.
    """
    if state == WAIVED:
        return WAIVED
    return SETTLED if done else OPEN


def reminder_due(opened: Collection[datetime], last: datetime | None, now: datetime) -> bool:
    """Whether to remind now of open checklists opened at these instants, `last` being the last reminder."""
    if not opened or now - min(opened) < REMINDER:
        return False
    return last is None or now - last >= REMINDER


def route_green(hosts: Collection[int], tested: Collection[int], result: str) -> bool:
    """Whether a finished test says of each of a route's present hosts that it is well: no remark, no failure.

    `hosts` and `tested` are keys of hosts, `result` that of the whole test.
    """
    return result == "ok" and set(hosts) <= set(tested)
