"""How many more copies may be handed over now, by the limits of the installation."""

from __future__ import annotations

from datetime import datetime

from notifications.bulk import rules
from notifications.bulk.models import NoticeRecipient
from notifications.rules import Limit


class Allowance:
    """The limits of a channel, for one worker and a few seconds.

    Long ones are counted once and drawn on from there, short ones each time. Several workers may exceed a
    limit by what they claim at one moment.
    """

    def __init__(self, channel: str) -> None:
        self._left: dict[Limit, int | None] = {one: None for one in rules.LIMITS if one.channel == channel}

    def room(self, most: int, now: datetime) -> int:
        """How many may be claimed at `now`, at most `most`."""
        for limit, left in self._left.items():
            if left is None or limit.within <= rules.MOMENT:
                self._left[limit] = limit.most - _used(limit, now)
        known = (left for left in self._left.values() if left is not None)
        return max(0, min((most, *known)))

    def draw(self, number: int) -> None:
        """So many were claimed."""
        self._left = {limit: left and left - number for limit, left in self._left.items()}

    def exhausted(self) -> Limit | None:
        """A limit that is reached for longer than a moment."""
        reached = (limit for limit, left in self._left.items() if left is not None and left <= 0)
        return next((limit for limit in reached if limit.within > rules.MOMENT), None)


def _used(limit: Limit, now: datetime) -> int:
    claimed = NoticeRecipient.objects.filter(channel=limit.channel, claimed_at__gt=now - limit.within)
    return claimed.count()
