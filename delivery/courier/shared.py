"""What the lanes of a courier share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from delivery.courier.hosts import HostMemory
from delivery.courier.rate import Allowances
from delivery.courier.transaction import Timeouts
from delivery.services.sending import Transaction


class Room:
    """Bytes of large messages that may be in memory at once. One that is larger goes alone."""

    def __init__(self, total: int) -> None:
        self._total, self._used = total, 0
        self._turn = asyncio.Lock()  # one after the other, so that small ones do not keep out a large one
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        async with self._turn:
            while self._used and self._used + size > self._total:
                self._freed.clear()
                await self._freed.wait()
            self._used += size
        try:
            yield
        finally:
            self._used -= size
            self._freed.set()


@dataclass(frozen=True)
class Surroundings:
    """What a lane needs of its courier."""

    local_hostname: str
    timeouts: Timeouts
    report: Callable[[Transaction], None]
    read_content: Callable[[int], Awaitable[bytes]]
    wake: Callable[[], None]
    large: Room
    hosts: HostMemory
    allowances: Allowances
