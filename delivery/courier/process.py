"""The courier: one loop claims, one writes results, one looks after leases and expiry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from delivery import rules
from delivery.courier.database import PASSING, DatabaseThread
from delivery.courier.hosts import HostMemory
from delivery.courier.identity import Identity
from delivery.courier.jumps import Jumps
from delivery.courier.lane import Lane
from delivery.courier.nudge import NudgeListener
from delivery.courier.rate import Allowances
from delivery.courier.shared import Room, Surroundings
from delivery.courier.transaction import Timeouts
from delivery.rules import Outcome, State, Verdict
from delivery.services import claims, clock, hops, sending
from delivery.services.claims import Flow
from delivery.services.sending import Transaction

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
SHORTEST_POLL_SECONDS = 0.01  # so that a burst of nudges is one poll
LOOK_SECONDS = 0.25  # while known next hops have work, the others are looked at so often
UPKEEP_SECONDS = 10.0
LONGEST_REST = 0.05  # seconds between two batches of results
RESULTS_AT_ONCE = 500
MOST_CONNECTIONS = (
    500  # beyond it no other next hop begins: a thousand silent domains are no thousand sockets
)
LARGE_AT_ONCE = 60 * 1024 * 1024  # bytes of messages too large to be read with their claim
FINISH_SECONDS = 2.0  # what is in flight may finish for so long at the end
FLUSH_SECONDS = 1.0


class Courier:
    """`run()` until `stop()`. Several may run at the same time, on any number of hosts."""

    def __init__(self, directory: Path, local_hostname: str, timeouts: Timeouts | None = None) -> None:
        self.identity = Identity(directory)
        self.name = self.identity.name
        self.memory = hops.Memory()
        self.lanes: dict[int, Lane] = {}
        self.held: Counter[int] = Counter()  # recipients claimed by us
        self.results: list[Transaction] = []
        self._directory = directory
        self._claiming = DatabaseThread("claims")
        self._writing = DatabaseThread("results")
        self._awake = asyncio.Event()
        self._reported = asyncio.Event()
        self._all_written = asyncio.Event()
        self._all_written.set()
        self._stopping = asyncio.Event()
        self._jumps = Jumps()
        self._turn = 0
        self._look_at = 0.0  # monotonic
        self._look_owed = False
        self._look_took = 0.0
        self._around = Surroundings(
            local_hostname=local_hostname,
            timeouts=timeouts or Timeouts(),
            report=self._report,
            read_content=self._read_content,
            wake=self._awake.set,
            large=Room(LARGE_AT_ONCE),
            hosts=HostMemory(),
            allowances=Allowances(),
        )

    def stop(self) -> None:
        """Ask `run()` to end; it takes at most 5 seconds."""
        self._stopping.set()

    async def run(self) -> None:
        nudge = NudgeListener(self._directory / "courier.sock", self._nudged)
        loops: list[asyncio.Task[None]] = []
        writer: asyncio.Task[None] | None = None
        try:
            starting = asyncio.create_task(self._claiming.insist(claims.release_all, self.name))
            await self._unless_stopped(starting)
            if self._stopping.is_set():
                return
            if self.identity.slot == 0:
                await nudge.open()
            logger.info("Courier %s started", self.name)
            writer = asyncio.create_task(self._write_results())
            loops = [
                asyncio.create_task(self._forever(self._claim_round, self._pause_for_mail)),
                asyncio.create_task(self._forever(self._upkeep, lambda: asyncio.sleep(UPKEEP_SECONDS))),
            ]
            await self._stopping.wait()
        finally:
            nudge.close()
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._finish(writer)
            self._claiming.close()
            self._writing.close()
            self.identity.close()
            logger.info("Courier %s stopped", self.name)

    async def _unless_stopped(self, task: asyncio.Task[int]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()

    async def _forever(
        self, work: Callable[[], Awaitable[None]], rest: Callable[[], Awaitable[None]]
    ) -> None:
        """A loop that no error ends."""
        # Asked here, too: wait_for of Python 3.11 can swallow a cancellation that comes with its result.
        while not self._stopping.is_set():
            try:
                await work()
            except PASSING as error:
                logger.warning("The database is away: %s", type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                logger.exception("The courier stumbled")
                await asyncio.sleep(POLL_SECONDS)
            await rest()

    # --- Claiming ----------------------------------------------------------------------------------------

    def _nudged(self) -> None:
        """There is new mail, perhaps for a next hop without a lane."""
        self._look_at = 0.0
        self._awake.set()

    async def _pause_for_mail(self) -> None:
        await asyncio.sleep(max(SHORTEST_POLL_SECONDS, self._look_took))
        try:
            await asyncio.wait_for(self._awake.wait(), self._until_next_turn())
        except TimeoutError:
            self._look_at = 0.0
            for lane in self.lanes.values():
                lane.dry = False
        self._awake.clear()

    def _until_next_turn(self) -> float:
        """Seconds until a next hop may be tried again, by its state or its rate; at most POLL_SECONDS."""
        now = timezone.now()
        waits = [
            (lane.hop.not_before - now).total_seconds()
            for lane in self.lanes.values()
            if lane.hop.not_before and lane.hop.not_before > now
        ]
        if self._look_owed:
            waits.append(max(self._look_at - time.monotonic(), SHORTEST_POLL_SECONDS))
        waits += [lane.allowance.wait for lane in self.lanes.values() if lane.allowance]
        return min([POLL_SECONDS, *(wait for wait in waits if wait > 0)])

    async def _claim_round(self) -> None:
        """Fill every lane that has room; drop lanes with nothing to do."""
        self._look_owed = time.monotonic() < self._look_at
        if self._look_owed:
            for known in list(self.lanes.values()):
                if not (known.dry or known.waiting):
                    await self._fill(known)
            return
        now = timezone.now()
        self._look_at = time.monotonic() + LOOK_SECONDS
        moved = await self._claiming.run(hops.finish_drains, now)
        self._decided(moved)
        for hop_id in await self._claiming.run(claims.paused_hops):
            if hop_id in self.lanes:
                self.lanes[hop_id].give_back()
        for flow in (flows := await self._look(now)):
            lane = self.lanes.get(flow.hop_id)
            if lane is None:
                if sum(lane.workers for lane in self.lanes.values()) >= MOST_CONNECTIONS:
                    continue
                lane = self.lanes[flow.hop_id] = Lane(flow, self._around)
            elif not lane.stalled:
                lane.update(flow)
            await self._fill(lane)
        for lane in self.lanes.values():
            lane.add()  # a worker that fell is replaced
        for hop_id in [hop_id for hop_id, lane in self.lanes.items() if lane.idle and not lane.waiting]:
            if hop_id not in {flow.hop_id for flow in flows}:
                del self.lanes[hop_id]

    async def _look(self, now: datetime) -> list[Flow]:
        """Next hops that have something to do, another one first each time."""
        started = time.monotonic()
        flows = await self._claiming.run(claims.flowing, now, self.memory)
        self._look_took = time.monotonic() - started
        self._turn = (self._turn + 1) % max(len(flows), 1)
        return flows[self._turn :] + flows[: self._turn]

    async def _fill(self, lane: Lane) -> None:
        room = lane.room
        if not room:
            lane.add()
            return
        avoided = lane.avoid()
        # Not cancelled half-way: what was claimed must be known to be given back.
        claiming = asyncio.ensure_future(
            self._claiming.run(claims.claim, lane.hop_id, self.name, room, timezone.now(), avoided)
        )
        try:
            envelopes = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._give_back(await claiming)
            raise
        for envelope in envelopes:
            self.held.update(envelope.recipient_ids)
        # Of messages to be avoided it is given one at a time: the next is asked for when that one is done.
        lane.dry = len(envelopes) < room and not (avoided and envelopes)
        if lane.stalled:
            self._give_back(envelopes)
        else:
            lane.add(envelopes)

    def _give_back(self, envelopes: Iterable[claims.Envelope]) -> None:
        for envelope in envelopes:
            self._report(Transaction(envelope.hop_id, released=envelope.recipient_ids))

    async def _read_content(self, message_id: int) -> bytes:
        return await self._claiming.insist(claims.content_of, message_id)

    # --- Results -----------------------------------------------------------------------------------------

    def _report(self, done: Transaction) -> None:
        self.results.append(done)
        self._all_written.clear()
        self._reported.set()

    async def _write_results(self) -> None:
        """Whatever came while a batch was written, and for as long again, goes into the next one.

        A batch of one result costs nearly as much as one of fifty.
        """
        rest = 0.0
        while True:
            await self._reported.wait()
            await asyncio.sleep(0 if self._stopping.is_set() else rest)
            began = time.monotonic()
            batch = self.results[:RESULTS_AT_ONCE]
            if not batch:
                self._reported.clear()
                self._all_written.set()
                rest = 0.0
                continue
            try:
                decided = await self._record(batch)
            except Exception:
                logger.exception("A batch of results could not be written; now one by one")
                decided = await self._record_one_by_one(batch)
            del self.results[: len(batch)]
            for done in batch:
                self._let_go(done)
                lane = self.lanes.get(done.hop_id)
                if lane and done.outcomes and done.released:
                    lane.dry = False  # the rest of the recipients follows at once
            self._decided(decided)
            # Where a next hop is in trouble, what becomes of it is wanted at once.
            calm = all(hop.untroubled for hop in decided.values())
            rest = min(time.monotonic() - began, LONGEST_REST) if calm else 0.0

    def _let_go(self, done: Transaction) -> None:
        # Counted, because what was released may have been claimed again before this runs.
        for recipient_id in (*done.released, *(outcome.recipient_id for outcome in done.outcomes)):
            self.held[recipient_id] -= 1
            if not self.held[recipient_id]:
                del self.held[recipient_id]

    async def _record(self, batch: list[Transaction]) -> dict[int, rules.Hop]:
        return await self._writing.insist(sending.record, batch, self.name, timezone.now(), self.memory)

    async def _record_one_by_one(self, batch: list[Transaction]) -> dict[int, rules.Hop]:
        """One result that cannot be written must not keep back the others."""
        decided: dict[int, rules.Hop] = {}
        for done in batch:
            try:
                decided |= await self._record([done])
            except Exception as error:
                logger.exception("The result of a message of next hop %s could not be written", done.hop_id)
                fault = Transaction(done.hop_id, outcomes=tuple(_faults(done.outcomes, error)))
                try:
                    decided |= await self._record([fault])
                except Exception:
                    logger.exception("Neither could the fault; its lease will free it")
        return decided

    def _decided(self, decided: dict[int, rules.Hop]) -> None:
        for hop_id, hop in decided.items():
            lane = self.lanes.get(hop_id)
            if lane is None:
                continue
            was_waiting = lane.stalled or hop.state == State.DOWN or lane.hop.state != hop.state
            lane.decided(hop)
            if was_waiting:
                lane.dry = False
            if lane.room and not lane.dry:
                self._awake.set()

    # --- Upkeep ------------------------------------------------------------------------------------------

    async def _upkeep(self) -> None:
        """Leases, every 10 s though 60 s would do, and mail whose time is over."""
        now = timezone.now()
        await self._claiming.run(claims.renew, list(self.held), self.name, now)
        # After a jump of the clock the others' leases look old, or yet to come, until they renew them, too.
        freed = 0 if self._jumps.jumped(now) else await self._claiming.run(claims.free_abandoned, now)
        if freed:
            logger.warning("Freed %s recipients of a courier that vanished", freed)
        late = await self._claiming.run(clock.put_right, now)
        if late:
            logger.warning("The clock was put back: %s waits that it had made too long are over", late)
        await self._claiming.run(sending.expire_due, timezone.now())

    async def _finish(self, writer: asyncio.Task[None] | None) -> None:
        """Let go: what waits is released, what is in flight may finish, what does not is cut and released."""
        for lane in self.lanes.values():
            lane.stop()
        working = [task for lane in self.lanes.values() for task in lane.tasks]
        if working:
            _, late = await asyncio.wait(working, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=0.5)
        if writer:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_written.wait(), FLUSH_SECONDS)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)


def _faults(outcomes: Iterable[Outcome], error: Exception) -> Iterable[Outcome]:
    reply = f"Fault of the courier: {type(error).__name__}"
    for outcome in outcomes:
        if outcome.verdict != Verdict.DELIVERED:
            yield Outcome(outcome.recipient_id, outcome.address, Verdict.FAULT, "", None, reply)
        else:
            # It is with the mail server; only the reply's words were too much for the database.
            yield Outcome(outcome.recipient_id, outcome.address, Verdict.DELIVERED, outcome.stage)
