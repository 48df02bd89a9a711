"""Database work of the courier: a thread with a connection of its own, and errors that pass."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PASSING = (OperationalError, InterfaceError)  # locked, restarting, out of reach
LONGEST_WAIT = 5.0  # seconds


class DatabaseThread:
    """Runs functions one after the other in one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"courier-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Once. A connection on which anything failed is closed, so that the next call makes a new one."""

        def work() -> T:
            try:
                return function(*args, **kwargs)
            except DatabaseError:
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def insist(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Until the database takes it. Only for what is safe to repeat; other errors are raised."""
        wait = 0.2
        while True:
            try:
                return await self.run(function, *args, **kwargs)
            except PASSING as error:
                logger.warning("The database is away (%s): %s", self._name, type(error).__name__)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    def close(self) -> None:
        # `connection` is each thread's own: it must be looked up there.
        self._thread.submit(lambda: connection.close())  # noqa: PLW0108
        self._thread.shutdown(wait=True)
