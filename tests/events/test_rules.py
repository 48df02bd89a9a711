"""The arithmetic of events and of alert slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from events import rules
from events.rules import Silence

START = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

minutes = st.integers(0, 48 * 60).map(lambda n: START + n * MINUTE)
silences = st.lists(
    st.tuples(minutes, st.sampled_from(rules.HOURS)).map(lambda p: Silence(p[0], p[0] + p[1] * HOUR)),
    max_size=5,
)


@pytest.mark.parametrize("hours", rules.HOURS)
def test_an_event_lasts_as_long_as_chosen(hours: int) -> None:
    assert rules.activated_until(START, hours) == START + hours * HOUR


def test_two_hours_left_plus_one_hour_is_three_hours() -> None:
    assert rules.extended_until(START + 2 * HOUR, 1, START) == START + 3 * HOUR


def test_the_end_may_be_thirty_days_ahead_and_no_further() -> None:
    last = START + timedelta(days=30) - HOUR
    assert rules.extended_until(last, 1, START) == START + timedelta(days=30)
    with pytest.raises(rules.TooFarAhead):
        rules.extended_until(last + MINUTE, 1, START)


@given(st.integers(max_value=0))
def test_no_time_and_less_than_none_are_not_durations(hours: int) -> None:
    with pytest.raises(rules.NotADuration):
        rules.activated_until(START, hours)


@given(st.integers(min_value=721))
def test_absurd_hours_are_too_far_ahead(hours: int) -> None:
    with pytest.raises(rules.TooFarAhead):
        rules.activated_until(START, hours)


def test_slots_are_counted_from_the_first_however_late_the_worker_was() -> None:
    late = START + 20 * MINUTE
    assert rules.next_slot(START, HOUR, late) == START + HOUR


def test_a_worker_that_was_away_for_hours_gives_one_alert_and_no_catching_up() -> None:
    assert rules.next_slot(START, HOUR, START + 5 * HOUR + MINUTE) == START + 6 * HOUR
    assert rules.next_slot(START, HOUR, START + 5 * HOUR) == START + 6 * HOUR


def test_after_a_suspension_the_next_alert_goes_at_its_end() -> None:
    silence = Silence(START + 10 * MINUTE, START + 10 * MINUTE + 2 * HOUR)
    due = rules.due_at(START + HOUR, START, HOUR, [silence], START + HOUR)
    assert due == silence.until
    assert rules.next_slot(due, HOUR, due) == silence.until + HOUR, "later ones count from it"


def test_after_a_short_suspension_the_regular_slot_stays() -> None:
    silence = Silence(START + 10 * MINUTE, START + 50 * MINUTE)
    assert rules.due_at(START + HOUR, START, HOUR, [silence], START + HOUR) == START + HOUR


def test_a_suspension_that_ends_soon_after_a_late_alert_waits_for_the_interval() -> None:
    last = START + 55 * MINUTE  # the slot of START, decided late
    silence = Silence(START + 57 * MINUTE, START + 63 * MINUTE)
    assert rules.due_at(START + HOUR, last, HOUR, [silence], START + HOUR) == last + HOUR


def test_suspensions_that_follow_each_other_are_one() -> None:
    first = Silence(START, START + HOUR)
    second = Silence(START + 30 * MINUTE, START + 3 * HOUR)
    assert rules.due_at(START + 20 * MINUTE, None, HOUR, [second, first], START) == second.until


def test_a_missed_slot_is_not_sent_into_a_suspension() -> None:
    now = START + 90 * MINUTE
    silence = Silence(START + 80 * MINUTE, START + 140 * MINUTE)
    assert rules.due_at(START + HOUR, START, HOUR, [silence], now) == silence.until


@given(minutes, silences, minutes)
def test_nothing_is_ever_sent_during_a_silence(
    slot_at: datetime, silent: list[Silence], now: datetime
) -> None:
    due = rules.due_at(slot_at, None, HOUR, silent, now)
    assert due >= slot_at
    assert not any(silence.covers(due) for silence in silent)
    if due <= now:
        assert rules.silenced_until(silent, now) is None


class Alerts(RuleBasedStateMachine):
    """One stream of alerts, ticked at random, against the definition of the spec minute by minute."""

    @initialize(interval=st.sampled_from([15, 60, 240]))
    def begin(self, interval: int) -> None:
        self.interval = timedelta(minutes=interval)
        self.now = START
        self.next_at = START
        self.sent: list[datetime] = []
        self.silences: list[Silence] = []
        # The model: when the next alert is due, kept minute by minute as the spec says it in words.
        self.expected: list[datetime] = []
        self.model_next = START
        self.tick()
        self.model()

    def silent(self, instant: datetime) -> bool:
        return any(silence.covers(instant) for silence in self.silences)

    @rule(hours=st.sampled_from(rules.HOURS))
    def suspend(self, hours: int) -> None:
        """Adds up: what remains plus the new duration."""
        remaining = rules.silenced_until(self.silences, self.now)
        self.silences.append(Silence(self.now, (remaining or self.now) + hours * HOUR))

    @rule(steps=st.integers(1, 200))
    def time_passes(self, steps: int) -> None:
        for _ in range(steps):
            self.now += MINUTE
            self.tick()
            self.model()

    @rule()
    def ticked_twice(self) -> None:
        self.tick()
        self.tick()
        self.model()

    def tick(self) -> None:
        last = self.sent[-1] if self.sent else None
        due = rules.due_at(self.next_at, last, self.interval, self.silences, self.now)
        if due <= self.now:
            self.sent.append(self.now)
            self.next_at = rules.next_slot(due, self.interval, self.now)

    def model(self) -> None:
        if self.now >= self.model_next and not self.silent(self.now):
            self.expected.append(self.now)
            self.model_next = self.now + self.interval

    @invariant()
    def as_the_spec_says(self) -> None:
        if hasattr(self, "sent"):
            assert self.sent == self.expected

    @invariant()
    def never_two_within_an_interval(self) -> None:
        sent = getattr(self, "sent", [])
        assert all(b - a >= self.interval for a, b in pairwise(sent))


class Mode(RuleBasedStateMachine):
    """Activate, extend, stop and running out: the end is always start plus everything that was added."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.end: datetime | None = None
        self.added: list[int] = []
        self.started = START

    @property
    def active(self) -> bool:
        return self.end is not None and self.end > self.now

    @rule(hours=st.sampled_from(rules.HOURS))
    def activate(self, hours: int) -> None:
        if not self.active:
            self.started, self.added = self.now, [hours]
            self.end = rules.activated_until(self.now, hours)

    @rule(hours=st.integers(1, 300))
    def extend(self, hours: int) -> None:
        if self.active:
            assert self.end is not None
            try:
                self.end = rules.extended_until(self.end, hours, self.now)
            except rules.TooFarAhead:
                assert self.end + hours * HOUR > self.now + timedelta(days=30)
            else:
                self.added.append(hours)

    @rule()
    def stop(self) -> None:
        self.end = None

    @rule(minutes=st.integers(1, 3000))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @invariant()
    def the_end_is_the_sum(self) -> None:
        if self.active:
            assert self.end == self.started + sum(self.added) * HOUR
            assert self.end <= self.now + timedelta(days=30)


TestAlerts = Alerts.TestCase
TestAlerts.settings = settings(max_examples=25, stateful_step_count=15)
TestMode = Mode.TestCase
TestMode.settings = settings(max_examples=40, stateful_step_count=25)
