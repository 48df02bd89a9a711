"""Work for the database, done by one thread that always takes all that waits.

While the thread is at one batch (a commit, say), the next one gathers: no delay is added, and under
load one commit carries many messages.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import close_old_connections, connection, connections

log = logging.getLogger(__name__)

MOST_ITEMS = 500
MOST_WEIGHT = 32 * 1024 * 1024  # bytes in one transaction; one item alone may weigh more

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands items to `work` in batches. `work` answers each with its result or with an exception."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        weigh: Callable[[Item], int] = lambda _item: 0,
    ) -> None:
        self._work = work
        self._weigh = weigh
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[Item, asyncio.Future[Result]] | None] = queue.SimpleQueue()
        self._ended = asyncio.Event()
        # A daemon: a database that hangs must not keep the process from stopping.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def submit(self, item: Item) -> Result:
        """The result for `item`, or whatever the work raised. Cancelled in time, nothing is done."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.put((item, future))
        return await future

    async def close(self) -> None:
        """Do what waits, then end the thread."""
        self._waiting.put(None)
        await self._ended.wait()

    def _run(self) -> None:
        more = True
        try:
            while more:
                batch, more = self._take()
                if batch:
                    self._do(batch)
        finally:
            connections.close_all()
            self._tell(self._ended.set)

    def _take(self) -> tuple[list[tuple[Item, asyncio.Future[Result]]], bool]:
        """Wait for one item and take what else is there; False at the end of all work."""
        batch = []
        weight = 0
        entry = self._waiting.get()
        while entry is not None:
            item, future = entry
            if not future.cancelled():
                batch.append((item, future))
                weight += self._weigh(item)
            if len(batch) >= MOST_ITEMS or weight >= MOST_WEIGHT:
                return batch, True
            try:
                entry = self._waiting.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _do(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: Sequence[Result | Exception]
        try:
            refresh_connection()
            results = self._work([item for item, _future in batch])
        except Exception as error:
            log.exception("%s: a batch of %d failed", self._thread.name, len(batch))
            results = [error] * len(batch)
        answers = [(future, result) for (_item, future), result in zip(batch, results, strict=True)]
        self._tell(_answer, answers)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed meanwhile: nobody is left to tell
            log.warning("%s: stopped in the middle of a batch", self._thread.name)


def _answer(answers: list[tuple[asyncio.Future[Result], Result | Exception]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def refresh_connection() -> None:
    """Drop a dead database connection. A healthy SQLite one stays, opening it costs more than a commit."""
    if connection.vendor != "sqlite" or connection.errors_occurred:
        close_old_connections()
