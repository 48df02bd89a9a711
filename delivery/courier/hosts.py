"""Which hosts of a next hop are tried, and in which order: one that failed just now goes last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from delivery.courier import mx
from delivery.courier.sent import HostFailed
from delivery.services.claims import Flow, Host

# Seconds for which a host that failed is tried after the others; doubled with each failure in a row.
AVOIDED_FIRST, AVOIDED_LONGEST = 30.0, 600.0
# One that has kept somebody waiting for so long is not waited for by others.
SLOW_SECONDS = 3.0
# One that lost count of a group of commands gets them one by one for so long.
SINGLY_SECONDS = 600.0
# One that does not want to be told of clients by XCLIENT is not told for so long.
UNNAMED_SECONDS = 600.0
RECORDS_KEPT = 5000


async def hosts_of(flow: Flow) -> Sequence[Host]:
    """By the route's preference, or by that of the domain's MX. Raises mx.Undeliverable, HostFailed."""
    if not flow.mx_domain:
        return flow.hosts
    try:
        return await mx.hosts_of(flow.mx_domain)
    except mx.NoAnswer as error:
        raise HostFailed("dns", None, str(error)) from error


@dataclass
class _Record:
    failures: int = 0
    avoided_until: float = 0.0
    singly_until: float = 0.0
    unnamed_until: float = 0.0
    trying: list[float] = field(default_factory=list)  # since when, each try that has no result yet

    @property
    def until(self) -> float:
        """What is known of it matters no longer after that."""
        return max(self.avoided_until, self.singly_until, self.unnamed_until)


class HostMemory:
    """What a courier knows of hosts, so that the time-out of a silent one is not paid for every message."""

    def __init__(self) -> None:
        self._records: dict[Host, _Record] = {}

    def in_order(self, hosts: Sequence[Host]) -> list[Host]:
        """As they come, but those that failed lately, or that somebody waits for now, last."""
        now = time.monotonic()
        return sorted(hosts, key=lambda host: self._is_avoided(host, now))

    def _is_avoided(self, host: Host, now: float) -> bool:
        record = self._records.get(host)
        if record is None:
            return False
        if record.avoided_until > now:
            return True
        if record.failures:
            return bool(record.trying)  # its time is over: one try shows whether it works again
        return any(now - since > SLOW_SECONDS for since in record.trying)

    @contextmanager
    def trying(self, host: Host) -> Iterator[None]:
        """Somebody tries to reach the host until the block ends."""
        record, since = self._records.setdefault(host, _Record()), time.monotonic()
        record.trying.append(since)
        try:
            yield
        finally:
            record.trying.remove(since)
            self._forget_if_well(host)

    def failed(self, host: Host) -> None:
        """It did not answer, or said that it takes nothing."""
        now = time.monotonic()
        record = self._records.setdefault(host, _Record())
        if record.avoided_until <= now:  # what fails at the same time is the same failure
            record.failures += 1
            wait = AVOIDED_FIRST * 2 ** min(record.failures - 1, 10)
            record.avoided_until = now + min(wait, AVOIDED_LONGEST)
        if len(self._records) > RECORDS_KEPT:
            self._prune(now)

    def lost_count(self, host: Host) -> None:
        """It offers PIPELINING, and did not answer each command of a group."""
        self._records.setdefault(host, _Record()).singly_until = time.monotonic() + SINGLY_SECONDS

    def takes_groups(self, host: Host) -> bool:
        """Commands may be sent to it in groups, if it offers that."""
        record = self._records.get(host)
        return record is None or record.singly_until <= time.monotonic()

    def refused_names(self, host: Host) -> None:
        """It offers XCLIENT, and did not take it."""
        self._records.setdefault(host, _Record()).unnamed_until = time.monotonic() + UNNAMED_SECONDS

    def takes_names(self, host: Host) -> bool:
        """It may be told of clients, if it offers that."""
        record = self._records.get(host)
        return record is None or record.unnamed_until <= time.monotonic()

    def works(self, host: Host) -> None:
        """It went through a transaction."""
        record = self._records.get(host)
        if record:
            record.failures, record.avoided_until = 0, 0.0
            self._forget_if_well(host)

    def _forget_if_well(self, host: Host) -> None:
        record = self._records.get(host)
        if record and not (record.failures or record.trying) and record.until <= time.monotonic():
            del self._records[host]

    def _prune(self, now: float) -> None:
        for host, record in list(self._records.items()):
            if record.until <= now and not record.trying:
                del self._records[host]
