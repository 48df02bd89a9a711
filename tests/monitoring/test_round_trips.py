"""What a round-trip probe comes to, and that nobody else can make one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from monitoring.letters import Mark, letter, marks
from monitoring.rules import Evidence, Judgement, ProbeResult, RoundTrip, Source, Verdict, judge
from tests.monitoring.conftest import START

SECOND = timedelta(seconds=1)
LATENCY = 120 * SECOND
SENT = START + SECOND
TAKEN = "250 2.0.0 Ok: queued as 4F"


def trip(*, taken: bool | None = True, arrived: int | None = None, reply: str = TAKEN) -> RoundTrip:
    finished = None if taken is None else SENT + 2 * SECOND
    return RoundTrip(SENT, finished, taken, reply, None if arrived is None else SENT + arrived * SECOND)


@pytest.mark.parametrize(
    ("one", "at", "ok"),
    [
        (trip(arrived=4), SENT + 4 * SECOND, True),
        (trip(arrived=120), SENT + LATENCY, True),
        (trip(arrived=121), SENT + LATENCY, False),
        (trip(), SENT + LATENCY, False),
        (trip(taken=False, reply="535 5.7.8 No"), SENT + 2 * SECOND, False),
        (trip(taken=False, arrived=9), SENT + 9 * SECOND, True),
    ],
    ids=["in time", "just in time", "late", "missing", "unsendable", "taken although it seemed not"],
)
def test_what_it_comes_to_and_when(one: RoundTrip, at: datetime, ok: bool) -> None:
    result = one.result(LATENCY)
    assert result
    assert (result.at, result.ok) == (at, ok)


def test_the_words_say_what_is_wrong_and_what_the_mail_server_had_said() -> None:
    late, missing, unsendable = (trip(arrived=300), trip(), trip(taken=False, reply="535 5.7.8 No"))
    assert [one.result(LATENCY).reply for one in (late, missing, unsendable)] == [  # type: ignore[union-attr]
        f"The probe took 300 s to arrive, more than 120 s. The mail server had said: {TAKEN}",
        f"The probe did not arrive within 120 s. The mail server had said: {TAKEN}",
        "535 5.7.8 No",
    ]
    assert [one.result(LATENCY).lost for one in (late, missing, unsendable)] == [False, True, False]  # type: ignore[union-attr]


def test_one_whose_sender_was_killed_says_nothing() -> None:
    killed = trip(taken=None)
    assert killed.result(LATENCY) is None
    assert killed.is_under_way(SENT + LATENCY, LATENCY)
    assert not killed.is_under_way(SENT + LATENCY + SECOND, LATENCY)


def outbound(result: ProbeResult | None = None, /, *, under_way: bool = False, **inbound: Any) -> Judgement:
    evidence = {"inbound": bool(inbound), "outbound": True, "round_trip": result, "under_way": under_way}
    return judge(Evidence(**(evidence | inbound)))


def test_the_outbound_check_alone() -> None:
    assert outbound(ProbeResult(START, True)).step == -1
    assert outbound(ProbeResult(START, False, "no")) == Judgement(Verdict.FAILURE, 1, Source.ROUND_TRIP, "no")
    assert outbound(under_way=True) == Judgement(Verdict.QUIET, 0)
    assert outbound() == Judgement(Verdict.UNKNOWN, 0), "nothing was sent"


@pytest.mark.parametrize(
    ("result", "delivered", "step"),
    [(True, True, -1), (True, False, 1), (False, True, 1), (False, False, 1), (None, True, 0)],
)
def test_of_both_checks_the_worse_counts_once(result: bool | None, delivered: bool, step: int) -> None:
    found = None if result is None else ProbeResult(START + 90 * SECOND, result)
    seen: dict[str, Any] = {"last_success_at" if delivered else "last_failure_at": START}
    assert outbound(found, **seen).step == step


# --- Who can make one ---------------------------------------------------------------------------------------

MARK = Mark(7, START, "0123456789abcdef" * 2)


def a_letter() -> bytes:
    return letter(MARK, sender="probe@example.org", recipient="probe-1@mx.example", now=START)


def test_a_probe_is_known_again_in_whatever_it_is_wrapped() -> None:
    assert list(marks(a_letter())) == [MARK]
    assert list(marks(b"Received: from somewhere\r\n" + a_letter().replace(b"\r\n", b"\n"))) == [MARK]
    assert b"\n" not in a_letter().replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("part", "other"),
    [(b"ctp1.7.", b"ctp1.8."), (b".0123", b".1123"), (MARK.token()[-8:].encode(), b"0" * 8)],
)
def test_one_that_was_changed_is_none(part: bytes, other: bytes) -> None:
    assert list(marks(a_letter().replace(part, other))) == []


def test_another_installation_makes_others_and_an_old_key_still_counts() -> None:
    theirs = a_letter()
    with override_settings(SECRET_KEY="another key of another installation", SECRET_KEY_FALLBACKS=[]):
        assert list(marks(theirs)) == []
        ours = a_letter()
    with override_settings(SECRET_KEY_FALLBACKS=["another key of another installation"]):
        assert list(marks(ours)) == [MARK]


@given(st.binary(max_size=400), st.integers(0, 10**18 - 1), st.integers(0, 10**11 - 1))
def test_no_bytes_of_a_stranger_do_harm(noise: bytes, monitor: int, seconds: int) -> None:
    forged = f" ctp1.{monitor}.{seconds}.{'a' * 32}.{'b' * 32} ".encode()
    assert list(marks(noise + forged * 9 + noise)) == []
