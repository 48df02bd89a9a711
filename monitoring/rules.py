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
KEEP_WINDOWS = timedelta(days=90)


class Verdict(StrEnum):
    FAILURE = "failure"
    SUCCESS = "success"
    QUIET = "quiet"
    UNKNOWN = "unknown"


class Source(StrEnum):
    DELIVERY = "delivery"
    PROBE = "probe"
    NOTHING = ""


@dataclass(frozen=True)
class ProbeResult:
    """How a probe ended, and when."""

    at: datetime
    ok: bool
    reply: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that one window is judged by.

    `mail_waits`: mail waits after a real attempt failed and none succeeded since. `paused`: inbound
    deliveries were held back, so there were no real attempts to wait for. `looked`: monitoring ran and
    could have noticed. `local_fault`: the fault was our own, in words; the window then says nothing
    about the mail server.
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
    """What a window with this evidence means for the counter."""
    if evidence.local_fault:
        return Judgement(Verdict.UNKNOWN, 0, reply=evidence.local_fault)
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
        counter = advance(counter, judgement.step, threshold)
        opening = not outage_open and opens(counter, judgement.step, threshold)
        closing = outage_open and closes(counter, judgement.step, threshold)
        outage_open = opening or (outage_open and not closing)
        judged.append(Judged(start, end, evidence, judgement, counter, opening, closing))
    return judged


def _same_gap(before: Judged, judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.UNKNOWN and before.judgement == judgement
