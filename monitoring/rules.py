"""The counter of a monitor: how windows are cut, what each one means, when an outage opens and closes.

Pure: plain values in, plain values out. All datetimes are aware UTC, all lengths are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

HIGH_SENSITIVITY, MEDIUM_SENSITIVITY, LOW_SENSITIVITY = 3, 5, 10
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 1, 60
# An attempt unanswered for so long is a failure; a probe has so long for all hosts together.
PROBE_LIMIT_SECONDS = 60
# After its limit a probe has so long to be written down; then it is taken for lost.
PROBE_SLACK = timedelta(seconds=3)
# A window is judged so long after its end: by then its last attempts are committed.
GRACE = timedelta(seconds=1)
# What happened longer ago is not judged any more, it stays unknown: nobody is alerted about last week.
CATCH_UP = timedelta(days=1)
# An outage that opens again so soon after it closed is the same one.
REOPEN_WITHIN = timedelta(minutes=30)
# A monitor that opened more often than this within a day is flapping.
FLAPPING_OPENINGS, FLAPPING_WITHIN = 3, timedelta(hours=24)
KEEP_WINDOWS = timedelta(days=90)
# From handing in a round-trip probe until it is back at the gateway, unless the monitor says otherwise.
LATENCY_SECONDS, SHORTEST_LATENCY, LONGEST_LATENCY = 120, 5, 3600


class Verdict(StrEnum):
    FAILURE = "failure"
    SUCCESS = "success"
    QUIET = "quiet"
    UNKNOWN = "unknown"


class Source(StrEnum):
    DELIVERY = "delivery"
    PROBE = "probe"
    ROUND_TRIP = "round_trip"
    LOCAL = "local"
    NOTHING = ""


@dataclass(frozen=True)
class ProbeResult:
    """How a probe ended, and when. `lost`: the mail server took it, and it never came back."""

    at: datetime
    ok: bool
    reply: str = ""
    lost: bool = False


@dataclass(frozen=True)
class RoundTrip:
    """A probe that was handed in at the mail server, to come back through the gateway.

    `taken`: whether the mail server took it, at `finished_at`; None while nobody knows.
    """

    started_at: datetime
    finished_at: datetime | None = None
    taken: bool | None = None
    reply: str = ""
    arrived_at: datetime | None = None

    def result(self, latency: timedelta) -> ProbeResult | None:
        """What it came to, and when that was certain; None when nobody will ever know.

        It is a failure at the instant at which it could not be handed in, or became late.
        """
        late_at = self.started_at + latency
        if self.arrived_at and self.arrived_at <= late_at:
            return ProbeResult(self.arrived_at, True, f"{self._seconds(self.arrived_at)} s on its way")
        if self.taken is False and self.finished_at:
            return ProbeResult(self.finished_at, False, self.reply)
        if self.taken is None:
            return None
        return ProbeResult(late_at, False, self._words(latency), lost=self.arrived_at is None)

    def is_under_way(self, at: datetime, latency: timedelta) -> bool:
        """Whether at this instant nobody could say yet what it came to."""
        result = self.result(latency)
        return self.started_at < at <= (result.at if result else self.started_at + latency)

    def _words(self, latency: timedelta) -> str:
        said = f" The mail server had said: {self.reply}" if self.reply else ""
        if self.arrived_at:
            took = self._seconds(self.arrived_at)
            return f"The probe took {took} s to arrive, more than {latency.seconds} s.{said}"
        return f"The probe did not arrive within {latency.seconds} s.{said}"

    def _seconds(self, until: datetime) -> int:
        return round((until - self.started_at).total_seconds())


@dataclass(frozen=True)
class Evidence:
    """Everything that one window is judged by.

    `mail_waits`: mail waits after a real attempt failed and none succeeded since. `paused`: inbound
    deliveries were held back, so there were no real attempts to wait for. `looked`: monitoring ran and
    could have noticed. `local_fault`: the fault was our own, in words; the window then says nothing
    about the mail server. `inbound`, `outbound`: which checks the monitor has. `round_trip` is the last
    result of the outbound check in the window; `under_way`: a probe was on its way at the window's end.
    """

    deliveries: int = 0
    failures: int = 0
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    failure_reply: str = ""
    probe: ProbeResult | None = None
    mail_waits: bool = False
    paused: bool = False
    looked: bool = True
    local_fault: str = ""
    inbound: bool = True
    outbound: bool = False
    round_trip: ProbeResult | None = None
    under_way: bool = False

    @property
    def only_deliveries_count_down(self) -> bool:
        return self.mail_waits and not self.paused


@dataclass(frozen=True)
class Judgement:
    """What a window means: `step` is +1, 0 or -1, before the counter is kept between 0 and the threshold."""

    verdict: Verdict
    step: int
    source: Source = Source.NOTHING
    reply: str = ""


@dataclass(frozen=True)
class Judged:
    """A judged window `[start, end)` with the counter after it and whether it tripped or released."""

    start: datetime
    end: datetime
    evidence: Evidence
    judgement: Judgement
    counter: int
    opens: bool = False
    closes: bool = False


def window_start(at: datetime, seconds: int) -> datetime:
    """The start of the window that holds `at`: windows lie at multiples of their length since 1970."""
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)


def half_over(start: datetime, seconds: int, now: datetime) -> bool:
    return now - start >= timedelta(seconds=seconds / 2)


def probe_limit(seconds: int) -> float:
    """How long a probe may take, in seconds: half a window, but never more than a minute."""
    return min(PROBE_LIMIT_SECONDS, seconds / 2)


def complete_windows(
    judged_until: datetime, seconds: int, now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The windows after `judged_until` that can be judged at `now`, oldest first.

    A gap longer than the catch-up is one long window in front.
    """
    length = timedelta(seconds=seconds)
    horizon = window_start(now - GRACE, seconds)
    start = judged_until
    oldest = window_start(now - CATCH_UP, seconds)
    if start < oldest:
        yield start, oldest
        start = oldest
    while start + length <= horizon:
        # Aligned again after the window length of the monitor was changed.
        end = window_start(start, seconds) + length
        yield start, end
        start = end


def judge(evidence: Evidence) -> Judgement:
    """What a window with this evidence means for the counter: of its checks, the one that says the worst."""
    if evidence.local_fault:
        return Judgement(Verdict.UNKNOWN, 0, Source.LOCAL, evidence.local_fault)
    found = [_judge_inbound(evidence)] if evidence.inbound else []
    found += [_judge_outbound(evidence)] if evidence.outbound else []
    return max(found, key=lambda one: one.step, default=Judgement(Verdict.UNKNOWN, 0))


def _judge_outbound(evidence: Evidence) -> Judgement:
    trip = evidence.round_trip
    if trip is None:
        return Judgement(Verdict.QUIET if evidence.under_way else Verdict.UNKNOWN, 0)
    if trip.ok:
        return Judgement(Verdict.SUCCESS, -1, Source.ROUND_TRIP, trip.reply)
    return Judgement(Verdict.FAILURE, +1, Source.ROUND_TRIP, trip.reply)


def _judge_inbound(evidence: Evidence) -> Judgement:
    probe = evidence.probe
    idle_success = bool(probe and probe.ok and evidence.only_deliveries_count_down)
    found: list[tuple[datetime, bool, Source, str]] = []
    if evidence.last_success_at:
        found.append((evidence.last_success_at, False, Source.DELIVERY, ""))
    if evidence.last_failure_at:
        found.append((evidence.last_failure_at, True, Source.DELIVERY, evidence.failure_reply))
    if probe and not idle_success:
        found.append((probe.at, not probe.ok, Source.PROBE, probe.reply))
    if found:
        # The later one counts; of two at the same instant, the failure.
        _at, failed, source, reply = max(found, key=lambda one: one[:2])
        return (
            Judgement(Verdict.FAILURE, +1, source, reply)
            if failed
            else Judgement(Verdict.SUCCESS, -1, source, reply)
        )
    if probe and idle_success:
        return Judgement(Verdict.SUCCESS, 0, Source.PROBE, probe.reply)
    if not evidence.looked:
        return Judgement(Verdict.UNKNOWN, 0)
    return Judgement(Verdict.QUIET, 0 if evidence.only_deliveries_count_down else -1)


def advance(counter: int, step: int, threshold: int) -> int:
    """The counter after a step: never below 0, never above the threshold."""
    return max(0, min(min(counter, threshold) + step, threshold))


def opens(counter: int, step: int, threshold: int) -> bool:
    """Whether a step that led to `counter` trips the threshold. Only a failure does."""
    return step > 0 and counter >= threshold


def closes(counter: int, step: int, threshold: int) -> bool:
    """Whether a step that led to `counter` ends an outage: only one downwards, at half the threshold."""
    return step < 0 and counter <= threshold // 2


def turn(counter: int, step: int, threshold: int, outage_open: bool) -> tuple[int, bool, bool]:
    """The counter after one window, whether an outage opens with it, whether the open one closes.

    Whatever judges windows, or judges them again with another threshold, does it by this.
    """
    counter = advance(counter, step, threshold)
    opening = not outage_open and opens(counter, step, threshold)
    return counter, opening, outage_open and closes(counter, step, threshold)


def is_same_outage(closed_at: datetime | None, opens_at: datetime) -> bool:
    """Whether an outage that opens now is the one that closed then, open again."""
    return closed_at is not None and opens_at - closed_at <= REOPEN_WITHIN


def is_over_for_good(closed_at: datetime, now: datetime) -> bool:
    """Whether an outage that closed then cannot open again any more."""
    return now - closed_at > REOPEN_WITHIN


def flaps(openings: Iterable[datetime], now: datetime) -> bool:
    """Whether so many openings of one monitor within a day are too many."""
    return sum(now - FLAPPING_WITHIN < one <= now for one in openings) > FLAPPING_OPENINGS


def run(
    windows: Iterable[tuple[datetime, datetime, Evidence]], *, counter: int, threshold: int, outage_open: bool
) -> list[Judged]:
    """Judge consecutive windows. Neighbours of which nothing is known become one that spans the gap."""
    judged: list[Judged] = []
    for start, end, evidence in windows:
        judgement = judge(evidence)
        if judged and _same_gap(judged[-1], judgement):
            judged[-1] = replace(judged[-1], end=end)
            continue
        counter, opening, closing = turn(counter, judgement.step, threshold, outage_open)
        outage_open = opening or (outage_open and not closing)
        judged.append(Judged(start, end, evidence, judgement, counter, opening, closing))
    return judged


def _same_gap(before: Judged, judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.UNKNOWN and before.judgement == judgement
