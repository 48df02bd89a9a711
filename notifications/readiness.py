"""Whether a contact would be reached now: a pure rule over plain values, and no Django."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Way:
    """A contact point as the rule sees it. `way_out` is whether anything could leave by its channel."""

    id: int
    channel: str
    verified: bool = True
    disabled: bool = False
    way_out: bool = True

    @property
    def trouble(self) -> Trouble | None:
        """Why it cannot be used, the first reason of several."""
        if self.disabled:
            return Trouble.DISABLED
        if not self.verified:
            return Trouble.UNVERIFIED
        return None if self.way_out else Trouble.NO_WAY_OUT


class Trouble(StrEnum):
    """Why a contact point cannot be used."""

    DISABLED = "disabled"
    UNVERIFIED = "unverified"
    NO_WAY_OUT = "no way out"


class Reach(StrEnum):
    """Whether a contact would be reached, from never meant to be to sure."""

    OFF = "off"
    NO_POINT = "no point"
    UNUSABLE = "unusable"
    ONE_CHANNEL = "one channel"
    SURE = "sure"


@dataclass(frozen=True)
class Readiness:
    """The verdict: `ways` are used in this order, `broken` should be put right, the first of them first."""

    reach: Reach
    ways: tuple[Way, ...] = ()
    broken: tuple[Way, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether an alert would leave for this contact now."""
        return bool(self.ways)

    @property
    def fine(self) -> bool:
        """Whether there is nothing to do about this contact."""
        return self.reach == Reach.OFF or (self.reach == Reach.SURE and not self.broken)


def readiness(active: bool, ways: Sequence[Way]) -> Readiness:
    """Judge a contact by the contact points it has, in the order in which they are tried."""
    if not active:
        return Readiness(Reach.OFF)
    usable = tuple(way for way in ways if way.trouble is None)
    broken = tuple(way for way in ways if way.trouble is not None)
    if not ways:
        return Readiness(Reach.NO_POINT)
    if not usable:
        return Readiness(Reach.UNUSABLE, broken=broken)
    several = len({way.channel for way in usable}) > 1
    return Readiness(Reach.SURE if several else Reach.ONE_CHANNEL, usable, broken)
