"""Does the clock on the wall go as time does?"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

TOLERATED = timedelta(seconds=30)
REMEMBERED = 30.0  # seconds: three rounds, so that every living courier has renewed its leases


class Jumps:
    """Compares the wall clock with one that cannot be set."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._last: tuple[float, datetime] | None = None
        self._calm_from = steady()

    def jumped(self, now: datetime) -> bool:
        """Whether the wall clock was set by more than 30 s between two calls, in the last 30 seconds."""
        steady = self._steady()
        if self._last:
            passed = timedelta(seconds=steady - self._last[0])
            if abs(now - self._last[1] - passed) > TOLERATED:
                self._calm_from = steady + REMEMBERED
        self._last = steady, now
        return steady < self._calm_from
