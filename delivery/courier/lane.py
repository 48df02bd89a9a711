"""The way to one next hop: a few claimed messages, and the connections over which they go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence

from django.utils import timezone

from delivery import rules
from delivery.courier.attempt import Attempt, fault
from delivery.courier.client import Connection
from delivery.courier.sent import Sent
from delivery.courier.shared import Surroundings
from delivery.rules import State
from delivery.services.claims import Envelope, Flow
from delivery.services.sending import Transaction

logger = logging.getLogger(__name__)

MESSAGES_PER_CONNECTION = 100
AHEAD = 10  # messages claimed for each connection: none waits for the database, and a claim has its price
MESSAGE_AVOIDED_SECONDS = 60.0  # a message at which the host failed goes after the others for so long
AVOIDED_MESSAGES = 100
HOST_KEPT = 260  # characters


class Lane:
    """Workers take claimed messages, one connection each, as many as the next hop's state allows."""

    def __init__(self, flow: Flow, around: Surroundings) -> None:
        self.hop_id = flow.hop_id
        self.around = around
        self.dry = False  # the last claim found less than was asked for
        self.stalled = False  # a failure is on its way to the database; no more until that is decided
        self.stopped = False
        self.jobs: asyncio.Queue[Envelope | None] = asyncio.Queue()
        self.busy = 0
        self.workers = 0  # that take messages
        self.tasks: set[asyncio.Task[None]] = set()  # and those that only close their connection
        self.avoided_messages: OrderedDict[int, float] = OrderedDict()
        self.update(flow)

    def update(self, flow: Flow) -> None:
        self.flow, self.hop, self.limits = flow, flow.hop, flow.limits
        self.allowance = self.around.allowances.of(flow.route_id, flow.per_minute)

    @property
    def allowed(self) -> int:
        """Connections that the state of the next hop allows."""
        if self.hop.state == State.DOWN:
            return 1
        most = self.limits.max_connections
        wanted = self.hop.connections if self.hop.state == State.RECOVERING else self.hop.threshold or most
        return min(wanted, most)

    @property
    def room(self) -> int:
        """How many more messages to claim now."""
        room = self._room
        return min(room, self.allowance.available) if room and self.allowance else room

    @property
    def _room(self) -> int:
        waiting = self.jobs.qsize()
        if self.stalled:
            return 0
        if self.hop.state == State.DOWN:
            return 0 if waiting or self.busy else 1
        ahead = self.allowed * (2 if self.hop.state == State.RECOVERING else AHEAD)
        return ahead - waiting if waiting <= ahead // 2 else 0

    @property
    def wanted(self) -> bool:
        """A worker that has just finished a message may take another one."""
        return not self.stopped and self.workers <= self.allowed

    @property
    def idle(self) -> bool:
        return not (self.tasks or self.jobs.qsize())

    @property
    def waiting(self) -> bool:
        """For the database to decide about a failure, or for the next hop's time to come."""
        return self.stalled or bool(self.hop.not_before and self.hop.not_before > timezone.now())

    def add(self, envelopes: Sequence[Envelope] = ()) -> None:
        """Take claimed messages, and see to it that there are workers for all that wait."""
        if self.allowance:
            self.allowance.take(len(envelopes))
        for envelope in envelopes:
            self.jobs.put_nowait(envelope)
        wanted = min(self.allowed, self.jobs.qsize() + self.busy)
        # A connection counts until it is closed: the server must not see one too many.
        while self.workers < wanted and len(self.tasks) < self.allowed:
            self.workers += 1
            worker = asyncio.create_task(self._work())
            self.tasks.add(worker)
            worker.add_done_callback(self._worker_done)

    def give_back(self) -> None:
        """Release what waits here; what is being sent goes on."""
        released: list[int] = []
        while not self.jobs.empty():
            envelope = self.jobs.get_nowait()
            if envelope:
                released += envelope.recipient_ids
                if self.allowance:
                    self.allowance.put_back(1)
        if released:
            self.around.report(Transaction(self.hop_id, released=tuple(released)))

    def decided(self, hop: rules.Hop) -> None:
        """The database has the results; `hop` is what they made of the next hop."""
        self.hop, self.stalled = hop, False
        if hop.not_before or hop.state == State.DOWN:
            self.give_back()

    def avoid(self) -> list[int]:
        """Messages to be passed over for now."""
        now = time.monotonic()
        for message_id, until in list(self.avoided_messages.items()):
            if until <= now or len(self.avoided_messages) > AVOIDED_MESSAGES:
                del self.avoided_messages[message_id]
        return list(self.avoided_messages)

    def stop(self) -> None:
        """No more messages; idle workers leave at once."""
        self.stopped = True
        self.give_back()
        for _ in range(self.workers):
            self.jobs.put_nowait(None)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self.tasks.discard(worker)
        if not worker.cancelled() and worker.exception():
            logger.error("A worker of next hop %s ended", self.hop_id, exc_info=worker.exception())
            self.around.wake()
        if self.jobs.qsize() and not self.stopped:
            self.add()

    async def _next(self) -> Envelope | None:
        if not self.jobs.empty():
            return self.jobs.get_nowait()
        try:
            return await asyncio.wait_for(self.jobs.get(), self.around.timeouts.idle)
        except TimeoutError:
            return None

    async def _work(self) -> None:
        """Send one message after the other until there is none for a while."""
        connection: Connection | None = None
        try:
            try:
                while self.wanted and (envelope := await self._next()):
                    self.busy += 1
                    try:
                        connection = await self._deliver(envelope, connection)
                    finally:
                        self.busy -= 1
                    if connection and connection.used >= MESSAGES_PER_CONNECTION:
                        await connection.close()
                        connection = None
                    if self.room and not self.dry:
                        self.around.wake()
            finally:
                self.workers -= 1
            if connection:
                await connection.close()
        finally:
            if connection:
                connection.abort()

    async def _deliver(self, envelope: Envelope, connection: Connection | None) -> Connection | None:
        """Send one message and report what became of it; returns the connection if it can be used again."""
        started = time.monotonic()
        attempt = Attempt(self.flow, self.around, envelope, connection)
        try:
            sent = await self._with_content(envelope, attempt)
        except asyncio.CancelledError:
            attempt.abort()
            self.around.report(Transaction(self.hop_id, released=envelope.recipient_ids))
            raise
        except Exception as error:
            logger.exception("Message %s could not be handled", envelope.message_id)
            attempt.abort()
            attempt.connection = None
            sent = fault(envelope, error)
        slower = sent.throttled and self.hop.state == State.RECOVERING
        if sent.host_failed or slower:
            self.stalled = True
            self.give_back()
            if sent.host_failed and sent.began:
                self.avoided_messages[envelope.message_id] = time.monotonic() + MESSAGE_AVOIDED_SECONDS
        usable = attempt.connection if attempt.connection and attempt.connection.usable else None
        if slower:
            usable = None  # one less for the server, before anything is decided
        self.around.report(
            Transaction(
                hop_id=self.hop_id,
                sender=envelope.sender,
                outcomes=tuple(sent.outcomes),
                released=tuple(sent.released),
                host=str(attempt.host or "")[:HOST_KEPT],
                milliseconds=int((time.monotonic() - started) * 1000),
                offered=usable.offered if usable else None,
                to_tell=() if sent.dsn else envelope.notify_success,
            )
        )
        if usable is None:
            attempt.abort()
        return usable

    async def _with_content(self, envelope: Envelope, attempt: Attempt) -> Sent:
        if envelope.content is not None:
            return await attempt.run(envelope.content)
        async with self.around.large.of(envelope.size):
            return await attempt.run(await self.around.read_content(envelope.message_id))
