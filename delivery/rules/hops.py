"""How the state of a next hop moves: up, down, recovering, suspect. `docs/delivery.md` tells it in prose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from delivery.rules.replies import Verdict, is_about_the_recipient

FAILURES_TO_DOWN = 3
CANARIES_TO_RECOVER = 3
REFUSALS_TO_SUSPECT = 3
SUCCESSES_TO_TRUST = 3
SENDERS_TO_HOST_FAILURE = 3
EARLY_RETRY = (timedelta(seconds=2), timedelta(seconds=5))
OTHER_CANARY = 0.1  # of the first canary's wait, after one was refused for its recipient's own sake
SLOWER = 2.0  # a round this many times slower than the best one
SLOWER_BY_MS = 500  # and by at least so much is one of growing latency


class State(StrEnum):
    """Values of `NextHop.State`."""

    UP = "up"
    DOWN = "down"
    RECOVERING = "recovering"
    SUSPECT = "suspect"


@dataclass(frozen=True)
class Limits:
    """What the route says. Seconds."""

    canary_first: float = 30
    canary_max: float = 120
    max_connections: int = 20


@dataclass(frozen=True)
class Hop:
    """A next hop. The fields from `clean` on live in the courier only: they may be forgotten at any time."""

    state: State
    state_since: datetime
    failures: int = 0
    canary_successes: int = 0
    refused: tuple[str, ...] = ()
    refused_senders: tuple[str, ...] = ()
    trusted: int = 0
    not_before: datetime | None = None
    connections: int = 1
    backlog_before: datetime | None = None
    clean: int = 0
    round_ms: int = 0
    best_ms: int = 0
    threshold: int = 0  # connections from which they grow one by one, or at most while up; 0: not yet known
    same_round: int = 0  # results still to come of transactions that began before connections were halved

    @property
    def refuses_senders(self) -> bool:
        """Three senders in a row got a 5xx to MAIL: that is the host, not the sender."""
        return len(self.refused_senders) >= SENDERS_TO_HOST_FAILURE

    @property
    def untroubled(self) -> bool:
        """A success changes nothing: the case of nearly every message."""
        troubles = self.failures or self.not_before or self.refused or self.refused_senders or self.threshold
        return self.state == State.UP and not troubles

    @property
    def tolerant(self) -> bool:
        """A 5xx for a recipient is temporary: the server may have been restored half-way."""
        return self.state != State.UP


@dataclass(frozen=True)
class Failed:
    """All hosts of the route failed for a transaction."""


@dataclass(frozen=True)
class Completed:
    """A transaction was completed: at least one recipient was delivered."""

    milliseconds: int = 0


@dataclass(frozen=True)
class Refused:
    """The server refused a recipient for good. `known`: the address was known to exist."""

    address: str
    known: bool


@dataclass(frozen=True)
class SenderRefused:
    """A 5xx to MAIL."""

    sender: str


@dataclass(frozen=True)
class Throttled:
    """A 4xx that is not about a recipient: the server asks us to slow down."""


@dataclass(frozen=True)
class Deferred:
    """A 4xx for a recipient's own sake."""


@dataclass(frozen=True)
class Drained:
    """Nothing that is due was accepted before the recovery began."""


@dataclass(frozen=True)
class Held:
    """Mail was held back on purpose and may flow again: it drains as in recovery."""


Event = Failed | Completed | Refused | SenderRefused | Throttled | Deferred | Drained | Held


def advance(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    """The next hop after an event."""
    step = _STEPS_OF[type(event)]
    return step(hop, event, now, limits)


def _enter(hop: Hop, state: State, now: datetime, **changes: object) -> Hop:
    return replace(Hop(state, now), **changes)  # type: ignore[arg-type]


def _wait(failures: int, limits: Limits) -> timedelta:
    doublings = min(failures - FAILURES_TO_DOWN, 30)
    return timedelta(seconds=min(limits.canary_first * 2**doublings, limits.canary_max))


def _failed(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    failures = hop.failures + 1
    if hop.state == State.DOWN:
        failures = max(failures, FAILURES_TO_DOWN)
        return replace(hop, failures=failures, canary_successes=0, not_before=now + _wait(failures, limits))
    if failures >= FAILURES_TO_DOWN:
        return _enter(
            hop,
            State.DOWN,
            now,
            failures=failures,
            not_before=now + _wait(failures, limits),
            refused_senders=hop.refused_senders,
        )
    early = EARLY_RETRY[failures - 1]
    # A demo's canaries are quicker than this, and so must its first retries be.
    early = min(early, timedelta(seconds=limits.canary_first / 2))
    if hop.state == State.RECOVERING:
        hop = _halved(replace(hop, same_round=0))
    return replace(hop, failures=failures, not_before=now + early)


def _completed(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    assert isinstance(event, Completed)
    if hop.untroubled:
        return hop
    hop = replace(hop, refused=(), refused_senders=(), not_before=None)
    if hop.state == State.DOWN:
        successes = hop.canary_successes + 1
        if successes >= CANARIES_TO_RECOVER:
            return _enter(hop, State.RECOVERING, now, backlog_before=now)
        return replace(hop, canary_successes=successes, failures=FAILURES_TO_DOWN - 1)
    hop = replace(hop, failures=0)
    if hop.state != State.RECOVERING and hop.threshold:
        hop = _regrown(hop, limits)
    if hop.state == State.SUSPECT:
        if hop.trusted + 1 >= SUCCESSES_TO_TRUST:
            return _enter(hop, State.UP, now)
        return replace(hop, trusted=hop.trusted + 1)
    return _cleaner(hop, event.milliseconds, limits) if hop.state == State.RECOVERING else hop


def _cleaner(hop: Hop, milliseconds: int, limits: Limits) -> Hop:
    """One more clean transaction of the round; a round is as many as there are connections."""
    hop = replace(hop, same_round=max(0, hop.same_round - 1))
    clean, total = hop.clean + 1, hop.round_ms + milliseconds
    if clean < hop.connections:
        return replace(hop, clean=clean, round_ms=total)
    average = total // clean
    best = min(hop.best_ms, average) if hop.best_ms else average
    hop = replace(hop, clean=0, round_ms=0, best_ms=best)
    if average > best * SLOWER and average > best + SLOWER_BY_MS:
        return _halved(hop)
    more = hop.connections * 2
    if hop.threshold and more > hop.threshold:
        more = max(hop.connections + 1, hop.threshold)
    return replace(hop, connections=min(more, limits.max_connections))


def _regrown(hop: Hop, limits: Limits) -> Hop:
    """One more clean transaction of a server that wanted less; after each round it gets a connection more."""
    hop = replace(hop, same_round=max(0, hop.same_round - 1), clean=hop.clean + 1)
    if hop.clean < hop.threshold:
        return hop
    more = hop.threshold + 1
    return replace(hop, clean=0, threshold=more if more < limits.max_connections else 0)


def _fewer(hop: Hop, limits: Limits) -> Hop:
    """Half as many connections to a server that is up, once for each round."""
    if hop.same_round:
        return replace(hop, same_round=hop.same_round - 1, clean=0)
    now = hop.threshold or limits.max_connections
    return replace(hop, threshold=max(1, now // 2), same_round=now - 1, clean=0)


def _halved(hop: Hop) -> Hop:
    """Once for each round: what was under way at the same time is the same answer, as in TCP."""
    if hop.same_round:
        return replace(hop, same_round=hop.same_round - 1, clean=0, round_ms=0)
    half = max(1, hop.connections // 2)
    return replace(hop, connections=half, threshold=half, same_round=hop.connections - 1, clean=0, round_ms=0)


def _refused(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    assert isinstance(event, Refused)
    if hop.state == State.DOWN:
        return _other_canary(hop, now, limits)
    if not event.known:
        return hop
    refused = hop.refused if event.address in hop.refused else (*hop.refused, event.address)
    if hop.state == State.UP and len(refused) >= REFUSALS_TO_SUSPECT:
        return _enter(hop, State.SUSPECT, now, refused=refused, failures=hop.failures)
    return replace(hop, refused=refused[-REFUSALS_TO_SUSPECT:], trusted=0)


def _sender_refused(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    assert isinstance(event, SenderRefused)
    if event.sender not in hop.refused_senders:
        senders = (*hop.refused_senders, event.sender)[-SENDERS_TO_HOST_FAILURE:]
        hop = replace(hop, refused_senders=senders)
    if hop.refuses_senders:
        return _failed(hop, event, now, limits)
    return _other_canary(hop, now, limits) if hop.state == State.DOWN else hop


def _throttled(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    if hop.state == State.DOWN:
        return _other_canary(hop, now, limits)
    return _halved(hop) if hop.state == State.RECOVERING else _fewer(hop, limits)


def _deferred(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    return _other_canary(hop, now, limits) if hop.state == State.DOWN else hop


def _other_canary(hop: Hop, now: datetime, limits: Limits) -> Hop:
    """Nothing is known of the server; another message is tried soon, but not the whole queue at once."""
    return replace(hop, not_before=now + timedelta(seconds=limits.canary_first * OTHER_CANARY))


def _drained(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    if hop.state == State.RECOVERING or (hop.state == State.DOWN and hop.canary_successes):
        if len(hop.refused) >= REFUSALS_TO_SUSPECT:
            return _enter(hop, State.SUSPECT, now, refused=hop.refused)
        return _enter(hop, State.UP, now)
    return hop


def _held(hop: Hop, event: Event, now: datetime, limits: Limits) -> Hop:
    if hop.state == State.DOWN:
        return hop
    return _enter(hop, State.RECOVERING, now, backlog_before=now)


_STEPS_OF: dict[type, Callable[[Hop, Event, datetime, Limits], Hop]] = {
    Failed: _failed,
    Completed: _completed,
    Refused: _refused,
    SenderRefused: _sender_refused,
    Throttled: _throttled,
    Deferred: _deferred,
    Drained: _drained,
    Held: _held,
}


# --- A transaction as a whole -------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What happened to one recipient in a transaction. `code` is None where no reply came."""

    recipient_id: int
    address: str
    verdict: Verdict
    stage: str
    code: int | None = None
    reply: str = ""

    @property
    def words(self) -> str:
        """The reply as the server gave it, code and all; ours where it gave none."""
        return f"{self.code} {self.reply}" if self.code else self.reply


def judge(
    hop: Hop,
    sender: str,
    outcomes: Sequence[Outcome],
    milliseconds: int,
    known: Collection[str],
    now: datetime,
    limits: Limits,
) -> tuple[Hop, list[Outcome]]:
    """The next hop after a transaction, and its outcomes as the hop's state makes them count.

    A canary that the server put off for no reason of its recipient's is a host failure, and so is a 5xx to
    MAIL once three senders got it. While recovering a 4xx asks for fewer connections first. `known`: those
    of the addresses that are known to exist.
    """
    verdicts = {outcome.verdict for outcome in outcomes}
    if Verdict.HOST_FAILURE in verdicts:
        return advance(hop, Throttled() if _too_many(hop, outcomes) else Failed(), now, limits), list(
            outcomes
        )
    if Verdict.DELIVERED in verdicts:
        hop = advance(hop, Completed(milliseconds), now, limits)
    for outcome in outcomes:
        event = _event(outcome, sender, known)
        if event is None or (Verdict.DELIVERED in verdicts and not isinstance(event, Throttled | Refused)):
            continue
        if hop.state == State.DOWN and isinstance(event, Throttled):
            return advance(hop, Failed(), now, limits), _all_failed(outcomes)
        hop = advance(hop, event, now, limits)
        if isinstance(event, SenderRefused):
            # One reply, given to all recipients of the transaction.
            return hop, _all_failed(outcomes) if hop.refuses_senders else list(outcomes)
        if isinstance(event, Throttled):
            break
    return hop, list(outcomes)


def _too_many(hop: Hop, outcomes: Sequence[Outcome]) -> bool:
    """While recovering over several connections a 4xx says that they are too many, not that the host is down.

    If it is, the last connection finds out.
    """
    busy = hop.state == State.RECOVERING and hop.connections > 1
    return busy and any(outcome.code and 400 <= outcome.code < 500 for outcome in outcomes)


def _event(outcome: Outcome, sender: str, known: Collection[str]) -> Event | None:
    if outcome.verdict == Verdict.REFUSED:
        if outcome.stage != "rcpt":
            return Deferred()
        return Refused(outcome.address, outcome.address in known)
    if outcome.verdict != Verdict.DEFERRED:
        return None
    if outcome.stage == "mail":
        return SenderRefused(sender)
    return Deferred() if is_about_the_recipient(outcome.reply) else Throttled()


def _all_failed(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [
        replace(outcome, verdict=Verdict.HOST_FAILURE) if outcome.verdict == Verdict.DEFERRED else outcome
        for outcome in outcomes
    ]
