"""When a recipient is tried again."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

JITTER = 0.10
_MINUTES = (0, 1, 6, 15, 30, 60)
_STEPS = ((1, 10), (4, 34), (8, 24 * 366))  # every so many hours, up to an age of so many hours

TOLERANT_RETRY = timedelta(minutes=15)
THROTTLED_RETRY = timedelta(minutes=1)
FAULT_RETRY = timedelta(minutes=1)
FAULTS_TO_QUARANTINE = 3


def retry_ages(limit: timedelta) -> list[timedelta]:
    """The ages at which a recipient is tried, ascending; the last is the limit itself."""
    ages = [timedelta(minutes=minutes) for minutes in _MINUTES]
    for step, until in _STEPS:
        while ages[-1] < min(timedelta(hours=until), limit):
            ages.append(ages[-1] + timedelta(hours=step))
    return [age for age in ages if age < limit] + [limit]


def next_attempt_age(age: timedelta, limit: timedelta, spread: float) -> timedelta | None:
    """The age at which a recipient of this age is tried next; None when the limit has been reached.

    `spread` from -1 to 1 places it within ±10 % of the interval. The attempt at the limit has no jitter,
    and an attempt that came early by jitter does not bring the same one again.
    """
    ages = retry_ages(limit)
    for before, mark in pairwise(ages):
        jitter = (mark - before) * JITTER
        if mark == limit:
            return limit if age < limit else None
        if mark - jitter > age:
            return min(max(mark + jitter * spread, age), limit)
    return None
