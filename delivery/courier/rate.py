"""Messages a minute over a route: as many as its limit allows, whatever the number of its next hops."""

from __future__ import annotations

import time

BURST_SECONDS = 2.0  # what was not used for so long may be made up for


class Allowance:
    """A token bucket for one route in one courier."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._tokens = 1.0
        self._at = time.monotonic()

    @property
    def available(self) -> int:
        """Messages that may go now."""
        now = time.monotonic()
        most = max(1.0, self.per_minute / 60 * BURST_SECONDS)
        self._tokens = min(self._tokens + (now - self._at) * self.per_minute / 60, most)
        self._at = now
        return max(0, int(self._tokens))

    @property
    def wait(self) -> float:
        """Seconds until one more may go."""
        return 0.0 if self.available else (1 - self._tokens) * 60 / self.per_minute

    def take(self, number: int) -> None:
        self._tokens -= number

    def put_back(self, number: int) -> None:
        """Of messages that did not go after all."""
        self._tokens += number


class Allowances:
    """Those of all routes that have a limit."""

    def __init__(self) -> None:
        self._by_route: dict[int, Allowance] = {}

    def of(self, route_id: int, per_minute: int | None) -> Allowance | None:
        """The route's; None where it has no limit."""
        if not per_minute:
            self._by_route.pop(route_id, None)
            return None
        allowance = self._by_route.get(route_id)
        if allowance is None or allowance.per_minute != per_minute:
            allowance = self._by_route[route_id] = Allowance(per_minute)
        return allowance
