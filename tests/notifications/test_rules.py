"""The pure rules: which point is next, when again, how suspensions add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from notifications.rules import (
    ALL_POINTS,
    ALL_REFUSED,
    NO_POINT,
    PERHAPS_ARRIVED,
    SUSPENSION_HOURS,
    Enough,
    GiveUp,
    Tried,
    Use,
    Wait,
    falls_through,
    next_step,
    next_try,
    stale_at,
    suspension_end,
)

NOW = datetime(2026, 11, 24, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("points", "tried", "expected"),
    [
        ([], [], GiveUp(NO_POINT)),
        ([1, 2], [], Use(1)),
        ([1, 2], [Tried(1, "temporary")], Use(2)),
        ([1, 2], [Tried(1, "temporary"), Tried(2, "temporary")], Wait()),
        ([2], [Tried(1, "permanent")], Use(2)),
        ([], [Tried(1, "permanent")], GiveUp(ALL_REFUSED)),
        ([1], [Tried(1, "temporary"), Tried(2, "permanent")], Wait()),
        # A crash: the next point, else the same one once more, marked.
        ([1, 2], [Tried(1, "unknown")], Use(2)),
        ([1], [Tried(1, "unknown")], Use(1, repeat=True)),
        ([1, 2], [Tried(1, "unknown"), Tried(2, "temporary")], Use(1, repeat=True)),
        ([1], [Tried(1, "unknown"), Tried(1, "unknown", repeat=True)], GiveUp(PERHAPS_ARRIVED)),
        ([1], [Tried(1, "unknown"), Tried(1, "temporary", repeat=True)], Wait()),
        # Two points that may both have told the contact: one repeat, not two.
        (
            [1, 2],
            [Tried(1, "unknown"), Tried(2, "unknown"), Tried(1, "unknown", repeat=True)],
            GiveUp(PERHAPS_ARRIVED),
        ),
    ],
)
def test_next_step(points: list[int], tried: list[Tried], expected: object) -> None:
    assert next_step(points, tried, tried) == expected


def test_a_new_round_starts_with_the_first_point_and_leaves_out_the_unknown_one() -> None:
    ever = [Tried(1, "unknown"), Tried(2, "temporary"), Tried(1, "temporary", repeat=True)]
    assert next_step([1, 2], ever, []) == Use(2)
    again = [Tried(2, "temporary")]
    assert next_step([1, 2], [*ever, *again], again) == Use(1, repeat=True)


@given(
    count=st.integers(0, 4),
    outcomes=st.lists(st.sampled_from(["temporary", "permanent", "unknown"]), max_size=60),
)
def test_whatever_happens_at_most_one_repeat_may_arrive_and_each_round_ends(
    count: int, outcomes: list[str]
) -> None:
    points = list(range(1, count + 1))
    ever: list[Tried] = []
    this_round: list[Tried] = []
    for outcome in outcomes:
        step = next_step(points, ever, this_round)
        if isinstance(step, GiveUp):
            break
        if isinstance(step, Wait):
            this_round = []
            continue
        assert not isinstance(step, Enough), "nobody has accepted it"
        assert (step.point in {tried.point for tried in ever if tried.state == "unknown"}) == step.repeat
        tried = Tried(step.point, outcome, step.repeat)
        ever.append(tried)
        this_round.append(tried)
        assert len(this_round) <= 2 * count
        if outcome == "permanent":
            points.remove(step.point)
    assert sum(tried.state == "unknown" and tried.repeat for tried in ever) <= 1
    assert sum(tried.state == "unknown" for tried in ever) <= count + 1


def test_more_points_are_used_until_as_many_have_it_as_should() -> None:
    ever = [Tried(1, "sent")]
    assert next_step([1, 2], ever, ever) == Enough()
    assert next_step([1, 2], ever, [], wanted=2) == Use(2), "a new round, and the first has it already"
    assert next_step([1, 2], [Tried(1, "delivered"), Tried(2, "sent")], [], wanted=2) == Enough()
    refused = [*ever, Tried(2, "temporary")]
    assert next_step([1, 2], refused, refused[1:], wanted=2) == Wait()
    assert next_step([1, 2, 3], refused, refused[1:], wanted=2) == Use(3)
    assert next_step([1], [*ever, Tried(2, "permanent")], [Tried(2, "permanent")], wanted=2) == Enough()
    doubtful = [*ever, Tried(2, "unknown")]
    assert next_step([1, 2], doubtful, doubtful[1:], wanted=2) == Enough(), "one has it: nothing is repeated"


@given(
    st.integers(0, 4), st.lists(st.sampled_from(["sent", "temporary", "permanent", "unknown"]), max_size=12)
)
def test_all_at_once_uses_each_point_once_and_ends(count: int, outcomes: list[str]) -> None:
    points, ever = list(range(count)), list[Tried]()
    for outcome in [*outcomes, *["sent"] * 10]:
        step = next_step(points, ever, ever, ALL_POINTS)
        if not isinstance(step, Use):
            break
        ever.append(Tried(step.point, outcome, step.repeat))
    assert not isinstance(step, Use)
    once = [tried.point for tried in ever if not tried.repeat]
    assert sorted(once) == points
    assert isinstance(step, GiveUp | Wait) or any(tried.state == "sent" for tried in ever)


@pytest.mark.parametrize(("minute", "has", "falls"), [(4, [], False), (5, [], True), (9, [1, 2], False)])
def test_it_falls_through_when_the_wait_is_over_and_a_point_is_left(
    minute: int, has: list[int], falls: bool
) -> None:
    ever, wait = [Tried(point, "sent") for point in has], timedelta(minutes=5)
    assert falls_through([1, 2], ever, NOW, wait, NOW + timedelta(minutes=minute)) is falls


def test_waits_grow_to_a_quarter_of_an_hour_and_end_when_the_alert_is_stale() -> None:
    stale = stale_at("outage", NOW, None)
    now, waits = NOW, list[float]()
    while now < stale:
        then = next_try(len(waits) + 1, stale, now)
        waits.append((then - now).total_seconds())
        now = then
    assert waits == [30, 60, 120, 300, 600, 900, 900, 690]
    assert stale_at("recovery", NOW) == NOW + timedelta(hours=24)
    assert stale_at("outage", NOW, 15) == NOW + timedelta(minutes=15)


class Suspending(RuleBasedStateMachine):
    """Against a model that counts remaining minutes, one minute at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.everybody: list[datetime] = []
        self.mine: list[datetime] = []
        self.left_everybody = self.left_mine = 0

    @rule(hours=st.sampled_from(SUSPENSION_HOURS))
    def suspend_everybody(self, hours: int) -> None:
        self.everybody.append(suspension_end(self.everybody, hours, self.now))
        self.left_everybody += hours * 60

    @rule(hours=st.sampled_from(SUSPENSION_HOURS))
    def suspend_just_me(self, hours: int) -> None:
        self.mine.append(suspension_end(self.everybody + self.mine, hours, self.now))
        self.left_mine = max(self.left_everybody, self.left_mine) + hours * 60

    @rule(minutes=st.integers(1, 3000))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        for _minute in range(minutes):
            self.left_everybody = max(0, self.left_everybody - 1)
            self.left_mine = max(0, self.left_mine - 1)

    @invariant()
    def what_remains_agrees(self) -> None:
        everybody = max([*self.everybody, self.now]) - self.now
        mine = max([*self.everybody, *self.mine, self.now]) - self.now
        assert everybody == timedelta(minutes=self.left_everybody)
        assert mine == timedelta(minutes=max(self.left_everybody, self.left_mine))


TestSuspending = Suspending.TestCase
TestSuspending.settings = settings(max_examples=30, stateful_step_count=20)
