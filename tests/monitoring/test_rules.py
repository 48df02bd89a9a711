"""The counter, as the specification has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from monitoring import rules
from monitoring.rules import Evidence, Judgement, ProbeResult, Source, Verdict, judge

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FAILED = Evidence(failures=1, last_failure_at=NOON, failure_reply="421 Closing")
DELIVERED = Evidence(deliveries=1, last_success_at=NOON)
UNKNOWN = Evidence(looked=False)


def probe(ok: bool, seconds: int = 0) -> ProbeResult:
    return ProbeResult(NOON + seconds * SECOND, ok, "250 OK" if ok else "451 No")


def test_a_failure_counts_up_with_the_servers_words() -> None:
    assert judge(FAILED) == Judgement(Verdict.FAILURE, +1, Source.DELIVERY, "421 Closing")


def test_many_failures_in_a_window_count_once() -> None:
    assert judge(Evidence(failures=500, last_failure_at=NOON, probe=probe(False))).step == +1


def test_a_success_counts_down() -> None:
    assert judge(DELIVERED) == Judgement(Verdict.SUCCESS, -1, Source.DELIVERY)


def test_nothing_to_judge_counts_down() -> None:
    assert judge(Evidence()) == Judgement(Verdict.QUIET, -1)


@pytest.mark.parametrize(("success_at", "failure_at", "step"), [(0, 1, +1), (1, 0, -1), (0, 0, +1)])
def test_of_a_failure_and_a_success_the_later_counts(success_at: int, failure_at: int, step: int) -> None:
    both = Evidence(1, 1, NOON + success_at * SECOND, NOON + failure_at * SECOND, "421 Closing")
    assert judge(both).step == step


def test_a_window_that_was_not_run_is_unknown() -> None:
    assert judge(UNKNOWN) == Judgement(Verdict.UNKNOWN, 0)


def test_a_window_without_monitoring_but_with_deliveries_is_judged() -> None:
    assert judge(Evidence(deliveries=1, last_success_at=NOON, looked=False)).step == -1


def test_a_local_fault_is_unknown_whatever_failed() -> None:
    evidence = Evidence(failures=3, last_failure_at=NOON, local_fault="No network.")
    assert judge(evidence) == Judgement(Verdict.UNKNOWN, 0, Source.LOCAL, "No network.")


@pytest.mark.parametrize(("ok", "step"), [(True, -1), (False, +1)])
def test_without_traffic_the_probe_counts(ok: bool, step: int) -> None:
    assert judge(Evidence(probe=probe(ok))).step == step


@pytest.mark.parametrize(("ok", "step"), [(True, 0), (False, +1)])
def test_while_mail_waits_after_a_failed_attempt_a_probe_never_counts_down(ok: bool, step: int) -> None:
    assert judge(Evidence(probe=probe(ok), mail_waits=True)).step == step


def test_while_mail_waits_an_empty_window_does_not_count_down_either() -> None:
    assert judge(Evidence(mail_waits=True)) == Judgement(Verdict.QUIET, 0)


def test_while_mail_waits_a_later_probe_does_not_hide_a_failed_attempt() -> None:
    evidence = Evidence(failures=1, last_failure_at=NOON, probe=probe(True, 30), mail_waits=True)
    assert judge(evidence).step == +1


def test_while_mail_waits_a_real_delivery_counts_down() -> None:
    assert judge(Evidence(deliveries=1, last_success_at=NOON, mail_waits=True)).step == -1


@pytest.mark.parametrize(("ok", "step"), [(True, -1), (False, +1)])
def test_paused_there_are_no_deliveries_so_probes_count(ok: bool, step: int) -> None:
    assert judge(Evidence(probe=probe(ok), mail_waits=True, paused=True)).step == step


@pytest.mark.parametrize(
    ("threshold", "failures"), [(rules.HIGH_SENSITIVITY, 3), (rules.MEDIUM_SENSITIVITY, 5), (10, 10), (1, 1)]
)
def test_an_outage_opens_at_the_threshold_and_closes_at_half_of_it(threshold: int, failures: int) -> None:
    judged = run([FAILED] * (failures + 20) + [DELIVERED] * 60, threshold)
    opened = [number for number, window in enumerate(judged, 1) if window.opens]
    closed = [number for number, window in enumerate(judged, 1) if window.closes]
    assert opened == [failures]
    # However long it lasted, the counter is at the threshold, so that recovery is seen in a few windows.
    assert closed == [failures + 20 + threshold - threshold // 2]


def test_unknown_windows_neither_open_nor_close_and_become_one_row() -> None:
    judged = run([FAILED] * 2 + [UNKNOWN] * 50 + [FAILED] + [UNKNOWN] * 50 + [DELIVERED] * 2, threshold=3)
    assert [window.judgement.verdict for window in judged] == [
        Verdict.FAILURE,
        Verdict.FAILURE,
        Verdict.UNKNOWN,
        Verdict.FAILURE,
        Verdict.UNKNOWN,
        Verdict.SUCCESS,
        Verdict.SUCCESS,
    ]
    assert [window.counter for window in judged] == [1, 2, 2, 3, 3, 2, 1]
    assert [window.opens for window in judged].index(True) == 3
    assert judged[-1].closes
    assert judged[2].end - judged[2].start == 50 * timedelta(minutes=2)


def test_a_lowered_threshold_alone_opens_nothing() -> None:
    assert not run([DELIVERED, UNKNOWN], threshold=3, counter=4)[0].opens
    assert run([DELIVERED], threshold=3, counter=4)[0].counter == 2
    assert run([FAILED], threshold=3, counter=4)[0].opens


def test_windows_are_aligned_and_judged_shortly_after_their_end() -> None:
    at = NOON + 119 * SECOND
    assert rules.window_start(at, 120) == NOON
    assert list(rules.complete_windows(NOON, 120, NOON + 120.9 * SECOND)) == []
    assert list(rules.complete_windows(NOON, 120, NOON + 121 * SECOND)) == [(NOON, NOON + 120 * SECOND)]


def test_after_a_change_of_length_windows_are_aligned_again() -> None:
    ends = [end for _start, end in rules.complete_windows(NOON + 10 * SECOND, 120, NOON + 300 * SECOND)]
    assert ends == [NOON + 120 * SECOND, NOON + 240 * SECOND]


def test_what_is_older_than_a_day_is_one_window() -> None:
    windows = list(rules.complete_windows(NOON - timedelta(days=9), 120, NOON))
    assert windows[0] == (NOON - timedelta(days=9), NOON - timedelta(days=1))
    assert len(windows) == 1 + 719, "the last one, up to noon, is not a second old"


def test_a_probe_may_take_half_a_window_but_never_more_than_a_minute() -> None:
    assert [rules.probe_limit(seconds) for seconds in (10, 120, 600)] == [5, 60, 60]


def run(
    evidence: list[Evidence], threshold: int, counter: int = 0, outage_open: bool = False
) -> list[rules.Judged]:
    length = timedelta(minutes=2)
    windows = [
        (NOON + number * length, NOON + (number + 1) * length, one) for number, one in enumerate(evidence)
    ]
    return rules.run(windows, counter=counter, threshold=threshold, outage_open=outage_open)


instants = st.none() | st.integers(0, 119).map(lambda seconds: NOON + seconds * SECOND)
evidences = st.builds(
    Evidence,
    last_success_at=instants,
    last_failure_at=instants,
    probe=st.none() | st.builds(ProbeResult, instants.filter(bool), st.booleans()),
    mail_waits=st.booleans(),
    paused=st.booleans(),
    looked=st.booleans(),
    local_fault=st.sampled_from(["", "", "", "Disk full."]),
    outbound=st.booleans(),
    round_trip=st.none() | st.builds(ProbeResult, instants.filter(bool), st.booleans()),
    under_way=st.booleans(),
)


@given(evidences)
def test_the_step_fits_the_verdict(evidence: Evidence) -> None:
    judgement = judge(evidence)
    assert (
        judgement.step
        in {
            Verdict.FAILURE: (1,),
            Verdict.SUCCESS: (-1, 0),
            Verdict.QUIET: (-1, 0),
            Verdict.UNKNOWN: (0,),
        }[judgement.verdict]
    )
    if evidence.mail_waits and not evidence.paused and not evidence.last_success_at:
        assert judgement.step >= 0, "only a real delivery counts down"


@given(st.lists(evidences, max_size=60), st.integers(1, 60), st.integers(0, 60))
def test_judging_in_two_runs_is_judging_in_one(evidence: list[Evidence], threshold: int, cut: int) -> None:
    whole = run(evidence, threshold)
    first = run(evidence[:cut], threshold)
    opened = sum(window.opens for window in first) - sum(window.closes for window in first)
    second = run(evidence[cut:], threshold, first[-1].counter if first else 0, bool(opened))
    assert [window.counter for window in whole][-1:] == [window.counter for window in first + second][-1:]
    for turn in ("opens", "closes"):
        assert sum(getattr(one, turn) for one in whole) == sum(getattr(one, turn) for one in first + second)


class Counter(RuleBasedStateMachine):
    """Whatever windows and settings come, the counter stays in bounds and outages follow it."""

    @initialize(threshold=st.integers(1, 60))
    def begin(self, threshold: int) -> None:
        self.counter, self.threshold, self.open = 0, threshold, False
        self.failures_in_a_row = self.successes_in_a_row = 0

    @rule(evidence=evidences)
    def window(self, evidence: Evidence) -> None:
        before = min(self.counter, self.threshold)
        (judged,) = run([evidence], self.threshold, self.counter, self.open)
        assert abs(judged.counter - before) <= 1
        assert not (judged.opens and (self.open or judged.judgement.verdict is not Verdict.FAILURE))
        if judged.closes:
            assert self.open
            assert judged.counter <= self.threshold // 2
            assert judged.judgement.step == -1
        self.open = (self.open or judged.opens) and not judged.closes
        self.counter = judged.counter
        step = judged.judgement.step
        self.failures_in_a_row = self.failures_in_a_row + 1 if step > 0 else 0
        self.successes_in_a_row = self.successes_in_a_row + 1 if step < 0 else 0

    @rule(threshold=st.integers(1, 60))
    def change_threshold(self, threshold: int) -> None:
        self.threshold = threshold
        self.failures_in_a_row = self.successes_in_a_row = 0

    @invariant()
    def outages_follow_the_counter(self) -> None:
        if not hasattr(self, "counter"):
            return
        assert 0 <= self.counter <= 60
        if self.failures_in_a_row >= self.threshold:
            assert self.open
            assert self.counter == self.threshold
        if self.successes_in_a_row >= self.threshold:
            assert not self.open
            assert self.counter == 0


TestCounter = Counter.TestCase
TestCounter.settings = settings(max_examples=40, stateful_step_count=40)
