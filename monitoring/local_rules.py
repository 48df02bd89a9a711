"""Is it us? Which faults of our own make a failure say nothing about the mail server.

Pure: plain values in, plain values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

# The clocks of this machine and of the database may differ by so much.
CLOCK_DIFFERS = timedelta(seconds=60)
# Whoever outside has not answered for so long is no witness any more: perhaps it never will again.
WITNESS_LASTS = timedelta(days=1)


class Part(StrEnum):
    DISK = "disk"
    CLOCK = "clock"
    BACKLOG = "backlog"
    NETWORK = "network"
    DNS = "dns"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class Fault:
    """A fault of our own, in words for an administrator."""

    part: Part
    words: str


@dataclass(frozen=True)
class Case:
    """A check that failed: what it needs of us.

    `remote`: a host of it is not on this machine. `named`: it knows its hosts by name. `round_trip`: a mail
    server took a probe that then should have come in at our gateway. `answered`: a mail server spoke, so it
    was reached. `delivering`: it was real mail that failed, so our queue moved.
    """

    remote: bool = True
    named: bool = False
    round_trip: bool = False
    answered: bool = False
    delivering: bool = False

    def is_explained_by(self, fault: Fault) -> bool:
        """Whether this fault of ours may be why the check failed."""
        if fault.part is Part.GATEWAY:
            return self.round_trip
        if fault.part is Part.BACKLOG:
            return not (self.answered or self.delivering)
        if fault.part is Part.NETWORK:
            return self.remote and not self.answered
        if fault.part is Part.DNS:
            return self.named and not self.answered
        return True


@dataclass(frozen=True)
class Facts:
    """What the gateway found when it looked at itself. None: not looked at, so it accuses nobody.

    `ways`: for each address of the failing servers, whether this machine knows a way there. `witnesses`:
    for each of those outside that answered within the last day (DNS, the relay for alerts), whether it does
    now. `resolved`: some name of the failing servers was found; `resolver`: a DNS server said something.
    """

    disk_free: int | None = None
    disk_needed: int = 0
    disk_error: str = ""
    clock_off: timedelta = timedelta()
    stuck_for: timedelta | None = None
    ways: tuple[bool, ...] = ()
    witnesses: tuple[bool, ...] = ()
    resolved: bool | None = None
    resolver: bool | None = None
    gateway: bool | None = None


def faults(facts: Facts) -> list[Fault]:
    """Everything that is wrong with ourselves, the worst first; empty when the fault is not ours."""
    found = []
    if facts.disk_error:
        found.append(Fault(Part.DISK, f"The gateway's own disk cannot be written: {facts.disk_error}."))
    elif facts.disk_free is not None and facts.disk_free < facts.disk_needed:
        megabytes = facts.disk_free // 1_000_000
        found.append(Fault(Part.DISK, f"The gateway's own disk is full: {megabytes} MB are left."))
    if abs(facts.clock_off) > CLOCK_DIFFERS:
        seconds = round(abs(facts.clock_off).total_seconds())
        found.append(Fault(Part.CLOCK, f"The gateway's own clock is wrong by {seconds} s."))
    if facts.stuck_for is not None:
        minutes = facts.stuck_for // timedelta(minutes=1)
        found.append(
            Fault(
                Part.BACKLOG, f"The gateway itself has sent nothing for {minutes} min although mail is due."
            )
        )
    if _is_cut_off(facts):
        found.append(Fault(Part.NETWORK, "The gateway's own network is down."))
    elif facts.resolved is False and facts.resolver is False:
        found.append(Fault(Part.DNS, "The gateway's own DNS does not answer."))
    if facts.gateway is False:
        found.append(Fault(Part.GATEWAY, "The gateway itself takes no mail, so no probe can come back."))
    return found


def _is_cut_off(facts: Facts) -> bool:
    """No way to any of the servers, or nobody answers of all who lately did."""
    no_way = bool(facts.ways) and not any(facts.ways)
    return no_way or (bool(facts.witnesses) and not any(facts.witnesses))
