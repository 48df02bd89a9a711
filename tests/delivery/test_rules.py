"""Retry ages, what replies mean, and how the state of a next hop moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from delivery import rules
from delivery.rules import Hop, Limits, Outcome, State, Verdict, advance, classify, judge, next_attempt_age

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = timedelta(hours=96)
LIMITS = Limits(canary_first=30, canary_max=120, max_connections=20)
UP = Hop(State.UP, NOW)
spreads = st.floats(-1, 1)


def test_the_ages_are_those_of_the_specification() -> None:
    hours = [age.total_seconds() / 3600 for age in rules.retry_ages(LIMIT)]
    assert hours[:6] == [0, 1 / 60, 0.1, 0.25, 0.5, 1]
    assert hours[6:] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 18, 22, 26, 30, 34, 42, 50, 58, 66, 74, 82, 90, 96]


@given(st.integers(1, 720).map(lambda hours: timedelta(hours=hours)), spreads)
def test_every_way_through_the_ages_ends_with_an_attempt_at_the_limit(
    limit: timedelta, spread: float
) -> None:
    age, tried = timedelta(), []
    while (following := next_attempt_age(age, limit, spread)) is not None:
        assert following > age
        tried.append(following)
        age = following
    assert tried[-1] == limit
    assert len(tried) == len(rules.retry_ages(limit)) - 1


@given(st.floats(0, 96 * 3600 - 1), spreads)
def test_an_attempt_comes_within_a_tenth_of_its_interval(seconds: float, spread: float) -> None:
    age = timedelta(seconds=seconds)
    following = next_attempt_age(age, LIMIT, spread)
    assert following is not None
    assert age <= following <= LIMIT
    ages = rules.retry_ages(LIMIT)
    slack = [(mark - before) * 0.1 for before, mark in pairwise(ages)]
    assert any(
        abs(following - mark) <= by + timedelta(seconds=0.001) or following == age
        for mark, by in zip(ages[1:], slack, strict=True)
    )


def test_past_the_limit_there_is_no_attempt() -> None:
    assert next_attempt_age(LIMIT, LIMIT, 0) is None
    assert next_attempt_age(LIMIT + timedelta(hours=1), LIMIT, 0) is None


@pytest.mark.parametrize(
    ("stage", "code", "text", "verdict"),
    [
        ("end", 250, "2.0.0 Ok", Verdict.DELIVERED),
        ("rcpt", 251, "will forward", Verdict.DELIVERED),
        ("rcpt", 550, "5.1.1 no such user", Verdict.REFUSED),
        ("data", 554, "5.7.1 no", Verdict.REFUSED),
        ("end", 554, "5.7.1 spam", Verdict.REFUSED),
        ("mail", 550, "5.7.1 not you", Verdict.DEFERRED),
        ("rcpt", 450, "4.2.1 full", Verdict.DEFERRED),
        ("rcpt", 451, "4.7.1 greylisted", Verdict.DEFERRED),
        ("end", 451, "4.7.1 scanning", Verdict.DEFERRED),
        ("end", 452, "disk full", Verdict.HOST_FAILURE),
        ("end", 452, "4.3.1 disk full", Verdict.HOST_FAILURE),
        ("end", 452, "4.2.2 over quota", Verdict.DEFERRED),
        ("data", 451, "4.3.0 later", Verdict.HOST_FAILURE),
        ("mail", 452, "4.3.1 disk full", Verdict.HOST_FAILURE),
        ("rcpt", 421, "bye", Verdict.HOST_FAILURE),
        ("end", None, "timed out", Verdict.HOST_FAILURE),
        ("rcpt", 354, "out of step", Verdict.HOST_FAILURE),
        *((stage, 550, "5.0.0 no", Verdict.HOST_FAILURE) for stage in ("banner", "ehlo", "starttls", "auth")),
        *((stage, 450, "4.0.0 no", Verdict.HOST_FAILURE) for stage in ("connect", "banner", "ehlo")),
    ],
)
def test_a_reply_means_what_its_stage_says(stage: str, code: int | None, text: str, verdict: Verdict) -> None:
    assert classify(stage, code, text) == verdict


def test_too_many_recipients_is_not_a_full_disk() -> None:
    assert rules.is_too_many_recipients(452, "4.5.3 Too many recipients")
    assert not rules.is_too_many_recipients(452, "4.3.1 Disk full")
    assert not rules.is_too_many_recipients(452, "who knows")


def fail(hop: Hop, times: int, at: datetime = NOW) -> Hop:
    for _ in range(times):
        hop = advance(hop, rules.Failed(), at, LIMITS)
    return hop


def complete(hop: Hop, times: int, milliseconds: int = 10) -> Hop:
    for _ in range(times):
        hop = advance(hop, rules.Completed(milliseconds), NOW, LIMITS)
    return hop


def wait(hop: Hop) -> float:
    assert hop.not_before
    return (hop.not_before - NOW).total_seconds()


def test_three_failures_in_a_row_make_it_down_and_a_success_between_does_not() -> None:
    assert fail(UP, 2).state == State.UP
    assert fail(complete(fail(UP, 2), 1), 2).state == State.UP
    assert fail(UP, 3).state == State.DOWN


def test_before_the_third_failure_it_is_tried_again_after_seconds_then_by_canaries() -> None:
    assert [wait(fail(UP, times)) for times in (1, 2, 3, 4, 5, 6, 50)] == [2, 5, 30, 60, 120, 120, 120]


def test_after_a_canary_success_the_next_goes_at_once_and_three_make_it_recover() -> None:
    down = fail(UP, 5)
    assert complete(down, 1).not_before is None
    assert wait(fail(complete(down, 2), 1)) == 30
    assert complete(fail(complete(down, 2), 1), 2).state == State.DOWN
    recovering = complete(down, 3)
    assert (recovering.state, recovering.connections, recovering.backlog_before) == (State.RECOVERING, 1, NOW)


def test_connections_double_after_each_clean_round_and_are_halved_by_throttling() -> None:
    hop = complete(fail(UP, 3), 3)
    seen = []
    for _ in range(6):
        hop = complete(hop, hop.connections)
        seen.append(hop.connections)
    assert seen == [2, 4, 8, 16, 20, 20]
    hop = advance(hop, rules.Throttled(), NOW, LIMITS)
    assert hop.connections == 10
    assert fail(hop, 1).connections == 5
    assert fail(hop, 3).state == State.DOWN


def test_growing_latency_halves_the_connections() -> None:
    hop = complete(replace(UP, state=State.RECOVERING, connections=4), 4, milliseconds=200)
    assert hop.connections == 8
    assert complete(hop, 8, milliseconds=300).connections == 16
    assert complete(hop, 8, milliseconds=900).connections == 4


def test_drained_ends_the_recovery_but_not_while_everybody_is_refused() -> None:
    recovering = complete(fail(UP, 3), 3)
    assert advance(recovering, rules.Drained(), NOW, LIMITS).state == State.UP
    for name in "abc":
        recovering = advance(recovering, rules.Refused(name, known=True), NOW, LIMITS)
    assert advance(recovering, rules.Drained(), NOW, LIMITS).state == State.SUSPECT
    down = fail(UP, 3)
    assert advance(down, rules.Drained(), NOW, LIMITS).state == State.DOWN
    assert advance(complete(down, 1), rules.Drained(), NOW, LIMITS).state == State.UP


@pytest.mark.parametrize(
    ("refused", "state"),
    [
        ([("a", True), ("b", True), ("c", True)], State.SUSPECT),
        ([("a", True), ("a", True), ("a", True)], State.UP),
        ([("a", True), ("b", False), ("c", True)], State.UP),
        ([("a", True), ("b", True), ("", True), ("c", True)], State.UP),
    ],
    ids=["three known", "one thrice", "an unknown", "a success between"],
)
def test_three_different_known_recipients_refused_make_it_suspect(
    refused: list[tuple[str, bool]], state: State
) -> None:
    hop = UP
    for address, known in refused:
        event = rules.Refused(address, known) if address else rules.Completed()
        hop = advance(hop, event, NOW, LIMITS)
    assert hop.state == state
    assert hop.tolerant == (state == State.SUSPECT)
    assert complete(hop, 3).state == State.UP


def outcome(
    verdict: Verdict, stage: str = "rcpt", code: int = 450, reply: str = "", address: str = "a"
) -> Outcome:
    return Outcome(1, address, verdict, stage, code, reply)


def test_a_5xx_to_mail_is_a_host_failure_once_three_senders_in_a_row_got_it() -> None:
    refused = [outcome(Verdict.DEFERRED, "mail", 550, "5.7.1 no")]
    hop, seen = UP, []
    for sender in ("a", "a", "b", "c", "a", "d"):
        hop, result = judge(hop, sender, refused, 1, (), NOW, LIMITS)
        seen.append((result[0].verdict, hop.state))
    deferred, failed = Verdict.DEFERRED, Verdict.HOST_FAILURE
    assert seen == [
        (deferred, State.UP),
        (deferred, State.UP),
        (deferred, State.UP),
        (failed, State.UP),
        (failed, State.UP),
        (failed, State.DOWN),
    ]
    assert complete(hop, 1).refused_senders == ()


def test_a_canary_refused_for_its_recipients_own_sake_says_nothing_of_the_host() -> None:
    down = fail(UP, 4)
    for reply, code, verdict in (
        ("4.2.2 full", 452, Verdict.DEFERRED),
        ("4.1.1 who?", 450, Verdict.DEFERRED),
        ("5.1.1 who?", 550, Verdict.REFUSED),
    ):
        hop, _ = judge(down, "s", [outcome(verdict, "rcpt", code, reply)], 1, {"a"}, NOW, LIMITS)
        assert (hop.state, hop.failures, wait(hop)) == (State.DOWN, down.failures, 3)


def test_a_canary_put_off_for_no_reason_of_its_own_is_a_host_failure() -> None:
    down = fail(UP, 3)
    hop, (result,) = judge(
        down, "s", [outcome(Verdict.DEFERRED, "rcpt", 451, "4.3.0 directory is away")], 1, (), NOW, LIMITS
    )
    assert (result.verdict, hop.failures) == (Verdict.HOST_FAILURE, 4)


def test_one_recipients_trouble_never_slows_the_route() -> None:
    recovering = replace(UP, state=State.RECOVERING, connections=8)
    full = outcome(Verdict.DEFERRED, "rcpt", 452, "4.2.2 full", "b")
    for outcomes in ([full], [outcome(Verdict.DELIVERED, "end", 250), full]):
        hop, _ = judge(recovering, "s", outcomes, 1, (), NOW, LIMITS)
        assert (hop.connections, hop.not_before) == (8, None)


class NextHopMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, a few things hold of a next hop."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.hop = UP
        self.failures_in_a_row = 0

    def move(self, event: rules.Event) -> None:
        self.now += timedelta(seconds=1)
        self.hop = advance(self.hop, event, self.now, LIMITS)

    @rule()
    def fails(self) -> None:
        self.failures_in_a_row += 1
        self.move(rules.Failed())

    @rule(milliseconds=st.integers(0, 100_000))
    def completes(self, milliseconds: int) -> None:
        self.failures_in_a_row = 0
        self.move(rules.Completed(milliseconds))

    @rule(address=st.sampled_from("abcde"), known=st.booleans())
    def refuses(self, address: str, known: bool) -> None:
        self.move(rules.Refused(address, known))

    @rule(event=st.sampled_from([rules.Throttled(), rules.Deferred(), rules.Drained(), rules.Held()]))
    def something_else(self, event: rules.Event) -> None:
        before = self.hop
        self.move(event)
        if isinstance(event, rules.Drained | rules.Held) and self.hop != before:
            self.failures_in_a_row = 0  # a new state begins with a clean slate

    @precondition(lambda self: self.hop.state == State.DOWN)
    @rule()
    def comes_back(self) -> None:
        for _ in range(rules.CANARIES_TO_RECOVER):
            self.completes(1)
        assert self.hop.state == State.RECOVERING

    @invariant()
    def connections_stay_within_the_route_limit(self) -> None:
        assert 1 <= self.hop.connections <= LIMITS.max_connections

    @invariant()
    def nobody_waits_longer_than_the_longest_canary(self) -> None:
        if self.hop.not_before:
            assert self.hop.not_before - self.now <= timedelta(seconds=LIMITS.canary_max)

    @invariant()
    def a_down_hop_has_failed_three_times(self) -> None:
        if self.failures_in_a_row >= 3 and self.hop.state in (State.UP, State.SUSPECT):
            raise AssertionError("three failures in a row and not down")

    @invariant()
    def recovery_knows_its_backlog(self) -> None:
        assert (self.hop.backlog_before is not None) == (self.hop.state == State.RECOVERING)

    @invariant()
    def a_success_lets_the_next_go_at_once(self) -> None:
        if self.hop.canary_successes:
            assert self.hop.state == State.DOWN


TestNextHop = NextHopMachine.TestCase
TestNextHop.settings = settings(max_examples=60, stateful_step_count=30)


def recovering_at(connections: int) -> Hop:
    return replace(UP, state=State.RECOVERING, connections=connections)


def test_after_throttling_connections_grow_one_by_one_and_are_halved_once_a_round() -> None:
    hop = recovering_at(16)
    for _ in range(3):  # of the 16 that were under way
        hop = advance(hop, rules.Throttled(), NOW, LIMITS)
    assert hop.connections == 8
    hop = complete(hop, 13)
    seen = []
    for _ in range(4):
        hop = complete(hop, hop.connections)
        seen.append(hop.connections)
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] <= 4
    assert advance(hop, rules.Throttled(), NOW, LIMITS).connections == hop.connections // 2


def test_a_server_that_is_up_and_throttles_gets_half_the_connections_and_then_one_more_a_round() -> None:
    hop = UP
    for _ in range(3):  # of the 20 that were under way
        hop = advance(hop, rules.Throttled(), NOW, LIMITS)
    assert (hop.state, hop.threshold) == (State.UP, 10)
    hop = complete(hop, 10 + 11)
    assert hop.threshold == 12
    hop = complete(hop, 200)
    assert hop.threshold == 0, "as many as the route has"
    assert hop.untroubled


@pytest.mark.parametrize(("code", "stage"), [(421, "banner"), (451, "mail"), (452, "end")])
def test_while_recovering_a_4xx_asks_for_fewer_connections_before_it_means_down(
    code: int, stage: str
) -> None:
    outcome = Outcome(1, "a@b.example", Verdict.HOST_FAILURE, stage, code, "4.7.0 Too much")
    hop = recovering_at(4)
    for _ in range(4):
        hop, _outcomes = rules.judge(hop, "s@x.example", [outcome], 5, (), NOW, LIMITS)
    assert (hop.connections, hop.failures, hop.not_before) == (2, 0, None)
    for _ in range(9):
        hop, outcomes = rules.judge(hop, "s@x.example", [outcome], 5, (), NOW, LIMITS)
    assert hop.state == State.DOWN
    assert outcomes == [outcome]
    silent = replace(outcome, code=None)
    assert rules.judge(recovering_at(4), "s@x.example", [silent], 5, (), NOW, LIMITS)[0].failures == 1
