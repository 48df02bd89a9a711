"""What other thresholds would have done: the same counter, the same outages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import history, rules, services
from monitoring.models import Monitor
from monitoring.replay import Outcome, Stretch, advise, outcomes, replay
from tests.monitoring.conftest import START, WINDOW, Site

VERDICTS = {1: "failure", 0: "unknown", -1: "success"}
MINUTE = timedelta(minutes=1)


def stretches(steps: Sequence[int]) -> list[Stretch]:
    """Windows with these steps from START on. What the counter was then does not matter to a replay."""
    found, at = [], START
    for step, same in groupby(steps):
        number = len(list(same))
        found.append(Stretch(at, at + number * WINDOW, VERDICTS[step], step, number, 0, 0))
        at += number * WINDOW
    return found


def evidence(step: int) -> rules.Evidence:
    """What a window is judged by to make this step."""
    if step == 0:
        return rules.Evidence(looked=False)
    return rules.Evidence(probe=rules.ProbeResult(START, ok=step < 0))


# Runs of like windows: single random steps would hardly ever reach a threshold.
STEPS = st.lists(st.tuples(st.sampled_from([1, -1, 0]), st.integers(1, 25)), max_size=25).map(
    lambda runs: [step for step, number in runs for _ in range(number)]
)


@given(steps=STEPS, threshold=st.integers(1, 12))
def test_a_replay_opens_and_closes_what_judging_did(steps: list[int], threshold: int) -> None:
    windows = [
        (START + number * WINDOW, START + (number + 1) * WINDOW, evidence(step))
        for number, step in enumerate(steps)
    ]
    judged = rules.run(windows, counter=0, threshold=threshold, outage_open=False)
    spans = [span for outage in replay(stretches(steps), threshold) for span in outage.spans]
    assert [opened for opened, _closed in spans] == [one.end + rules.GRACE for one in judged if one.opens]
    closings = [closed for _opened, closed in spans if closed]
    assert closings == [one.end for one in judged if one.closes]


@given(steps=STEPS)
def test_a_higher_threshold_never_notices_earlier(steps: list[int]) -> None:
    first = [next(iter(replay(stretches(steps), threshold)), None) for threshold in (3, 5, 10)]
    opened = [one.opened_at for one in first if one]
    assert opened == sorted(opened)
    assert [one is None for one in first] == sorted(one is None for one in first)


def test_it_counts_from_the_first_failed_window_and_in_open_time() -> None:
    (outage,) = replay(stretches([-1, 1, -1, 1, 1, 1, 1, -1, -1]), 3)
    assert outage.failing_since == START + 3 * WINDOW, "the first failure was forgiven"
    assert outage.noticed_after == 3 * WINDOW + rules.GRACE
    assert outage.closed_at == START + 9 * WINDOW
    assert outage.open_for(START + 99 * WINDOW) == 3 * WINDOW - rules.GRACE


@pytest.mark.parametrize(("calm", "number"), [(12, 1), (13, 2)])
def test_opened_again_within_half_an_hour_it_is_the_same_outage(calm: int, number: int) -> None:
    # It closes with the second good window at 10 min, and opens with the third failed one of the next three.
    outages = replay(stretches([1, 1, 1, *[-1] * (calm + 1), 1, 1, 1]), 3)
    assert len(outages) == number
    assert sum(len(outage.spans) for outage in outages) == 2


def test_where_windows_are_missing_the_monitor_was_off_and_began_again() -> None:
    before = stretches([1, 1, 1])
    later = timedelta(hours=3)
    after = [
        Stretch(one.start + later, one.end + later, one.verdict, one.step, one.windows, 0, 0)
        for one in stretches([1, 1])
    ]
    (outage,) = replay([*before, *after], 3)
    assert outage.closed_at == START + 3 * WINDOW + rules.GRACE


def blip(failed: int, calm: int = 400) -> list[int]:
    return [1] * failed + [-1] * calm


def test_many_short_outages_recommend_the_threshold_that_still_sees_the_long_one() -> None:
    steps = [-1] * 100 + blip(3) * 8 + blip(60)
    now = START + len(steps) * WINDOW
    found = outcomes(stretches(steps), 3, now)
    assert [(one.threshold, len(one.outages)) for one in found] == [(3, 9), (5, 1), (10, 1)]
    advice = advise(found, 3, WINDOW)
    assert advice.changes
    assert advice.best.threshold == 5
    assert advice.best.longest
    assert advice.best.longest.noticed_after == 5 * WINDOW + rules.GRACE


@pytest.mark.parametrize(
    ("steps", "current", "best"),
    [
        ([-1] * 500, 5, 5),  # nothing happened: nothing to learn
        ([-1] * 500, 10, 10),
        (blip(60), 10, 3),  # a more sensitive one costs nothing
        (blip(4) * 2 + blip(60), 5, 5),  # a more sensitive one would open more
        (blip(7) * 5, 5, 10),  # none lasted: the quiet one
        (blip(60) * 4, 3, 3),  # all were real
        (([1] * 4 + [-1, 1] * 40 + [-1] * 200), 3, 3),  # half of the windows fail: 10 would not see it
    ],
)
def test_a_change_must_be_worth_it(steps: list[int], current: int, best: int) -> None:
    found = outcomes(stretches(steps), current, START + len(steps) * WINDOW)
    assert advise(found, current, WINDOW).best.threshold == best


def test_the_current_threshold_is_compared_whatever_it_is() -> None:
    found = outcomes(stretches([-1] * 9), 7, START)
    assert [one.threshold for one in found] == [3, 5, 7, 10]
    assert found[0] == Outcome(3, [], START)


def test_stored_windows_replayed_at_their_threshold_give_the_outages_that_were(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(threshold=3)
    story = "ffff..ss" + "s" * 20 + "fff.sss" + "ff"
    for number, did in enumerate(story):
        at = START + number * WINDOW + timedelta(seconds=5)
        if did == "f":
            site.attempt(at, "host_failure", "421 gone")
        elif did == "s":
            site.attempt(at, "delivered")
        if did == "." and number == 4:
            continue  # two windows are judged at once
        services.judge_due(START + (number + 1) * WINDOW + rules.GRACE)
    monitor = Monitor.objects.get()
    until = START + len(story) * WINDOW
    found = history.stretches(monitor, START, until)
    assert sum(one.windows for one in found) == monitor.windows.count()
    assert [one.last for one in found][-1] == monitor.counter
    real = [(one.failing_since, one.opened_at, one.closed_at) for one in monitor.outages.order_by("pk")]
    assert real
    assert [(one.failing_since, one.opened_at, one.closed_at) for one in replay(found, 3)] == real
    assert history.stretches(monitor, until, until + WINDOW) == []


def test_each_outage_names_the_windows_that_led_to_it_and_the_one_that_closed_it(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(threshold=3)
    for number, did in enumerate("sffssfffssss"):
        at = START + number * WINDOW + timedelta(seconds=5)
        site.attempt(at, "host_failure" if did == "f" else "delivered", f"421 no {number}")
        services.judge_due(START + (number + 1) * WINDOW + rules.GRACE)
    (why,) = history.why(list(site.monitor.outages.all()))
    assert [window.reply for window in why.failed] == ["421 no 5", "421 no 6", "421 no 7"]
    assert why.sources == [("delivery", 3)]
    assert why.closing
    assert why.closing.end == why.outage.closed_at
    assert why.closing.counter == 1
    assert history.why([]) == []
