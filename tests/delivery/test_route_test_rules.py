"""What answers and errors mean for a route, without any network."""

from __future__ import annotations

import socket

import pytest

from delivery.routetest.advice import ADVICE
from delivery.routetest.steps import (
    Problem,
    Result,
    Stage,
    Step,
    diagnose_error,
    diagnose_reply,
    outcome,
)


def test_every_problem_has_advice() -> None:
    assert set(ADVICE) == set(Problem)
    for text in map(str, ADVICE.values()):
        assert text.endswith(".")
        assert "!" not in text


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("code", [None, 0, 199, 220, 354, 421, 450, 451, 452, 500, 535, 550, 554, 600])
def test_every_answer_is_understood(stage: Stage, code: int | None) -> None:
    result, problem = diagnose_reply(stage, code, "words")
    assert (problem is None) == (result == Result.OK)


def test_an_unreachable_network_is_not_a_silent_server() -> None:
    assert diagnose_error("tcp", OSError(113, "No route to host")) == Problem.UNREACHABLE
    assert diagnose_error("tcp", TimeoutError()) == Problem.SILENT
    assert diagnose_error("dns", TimeoutError()) == Problem.DNS_AWAY
    assert diagnose_error("dns", socket.gaierror(socket.EAI_AGAIN, "again")) == Problem.DNS_AWAY
    assert diagnose_error("dns", socket.gaierror(socket.EAI_NONAME, "unknown")) == Problem.NO_ADDRESS


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, "failed"),
        ({"a": "ok ok"}, "ok"),
        ({"a": "ok skipped"}, "ok"),
        ({"a": "ok warning"}, "warning"),
        ({"a": "ok failed"}, "failed"),
        ({"a": "failed", "b": "ok"}, "warning"),
        ({"a": "failed", "b": "ok failed"}, "failed"),
        ({"a": "warning failed"}, "failed"),
    ],
)
def test_one_host_that_works_is_enough(results: dict[str, str], expected: str) -> None:
    steps = [Step(host, "tcp", result, 1) for host, all_ in results.items() for result in all_.split()]
    assert outcome(steps) == expected
