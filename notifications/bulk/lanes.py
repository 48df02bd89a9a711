"""Threads that hand copies over, each on a connection that it keeps; nothing here writes to the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from django.db import connection
from django.utils.translation import gettext as _

from notifications.bulk.limits import Allowance
from notifications.bulk.models import NoticeRecipient
from notifications.bulk.progress import Claimed
from notifications.transports import (
    PermanentFailure,
    Rendered,
    TemporaryFailure,
    kept_open,
    transport_for,
)

logger = logging.getLogger(__name__)

# Relays take a handful of connections from one client; a provider's answer takes a tenth of a second.
THREADS = {"email": 6, "sms": 48}
# So many copies are claimed for each thread: none is idle while results are written down, and a transaction
# is worth its cost. What was claimed by a worker that is killed counts as perhaps sent.
AHEAD = {"email": 6, "sms": 2}

Copy = NoticeRecipient.State


@dataclass(frozen=True)
class Outcome:
    """How handing a copy over ended: PENDING when it was refused for now, with the words.

    `everybody`: the reason was not this address.
    """

    lane: Lane
    copy: Claimed
    state: NoticeRecipient.State
    words: str
    everybody: bool


class Lane:
    """The threads of one channel. A thread that meets trouble which is not its copy's ends."""

    def __init__(
        self,
        channel: str,
        outcomes: SimpleQueue[Outcome],
        render: Callable[[Claimed], Rendered],
        *,
        is_demo: bool,
    ) -> None:
        self.channel, self._render, self._is_demo = channel, render, is_demo
        self._outcomes = outcomes
        self._todo: SimpleQueue[Claimed | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.alive = THREADS[channel]
        self.dry = False  # no more is due for now
        self.allowance = Allowance(channel)

    @property
    def room(self) -> int:
        """How many copies it should get; none while half of what may wait for it does."""
        most = self.alive * AHEAD[self.channel]
        room = most - self._todo.qsize()
        return room if not self.dry and room >= most / 2 else 0

    def put(self, copies: list[Claimed]) -> None:
        for copy in copies:
            self._todo.put(copy)
        while len(self._threads) < min(THREADS[self.channel], self._todo.qsize()):
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()

    def take_back(self) -> list[Claimed]:
        """Those that nobody began to hand over."""
        found: list[Claimed] = []
        while True:
            try:
                copy = self._todo.get_nowait()
            except Empty:
                return found
            if copy is not None:
                found.append(copy)

    def close(self) -> None:
        """Let the threads end when they have handed over what they are at."""
        for _thread in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            with kept_open():
                while (copy := self._todo.get()) is not None:
                    outcome = self._hand_over(copy)
                    self._outcomes.put(outcome)
                    if outcome.everybody:
                        return
        finally:
            connection.close()  # the demo keeps what it "sends" in the database

    def _hand_over(self, copy: Claimed) -> Outcome:
        everybody = False
        try:
            words = transport_for(self.channel, is_demo=self._is_demo)(self._render(copy))
            state = Copy.SENT
        except PermanentFailure as failure:
            state, words = Copy.FAILED, str(failure)
        except TemporaryFailure as failure:
            state, words = Copy.UNKNOWN if failure.perhaps_sent else Copy.PENDING, str(failure)
            everybody = failure.everybody
        except Exception as error:
            # Only its type: what an exception says may quote the message.
            logger.error("fault in the transport for %s: %s", self.channel, type(error).__name__)
            state, words = Copy.UNKNOWN, _("Fault of our own: %s") % type(error).__name__
        words = " ".join(words.replace("\0", "").split())[:500]
        return Outcome(self, copy, state, words, everybody)
