"""What tests of routes found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from delivery.models import RouteTest
from delivery.routetest.steps import Stage

ALL = [stage.value for stage in Stage if stage != Stage.MESSAGE]
Run = Callable[..., RouteTest]


def step(test: RouteTest, stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in test.steps if one["stage"] == stage)
    return found


def stages(test: RouteTest) -> list[str]:
    return [one["stage"] for one in test.steps]
