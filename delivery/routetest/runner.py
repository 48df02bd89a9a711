"""Runs a test: the network in a loop that stops between the steps, so that each is written as it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from django.conf import settings
from django.utils import timezone

from delivery.models import RouteHost, RouteTest
from delivery.routetest.dialogue import Dialogue, Plan
from delivery.routetest.steps import Problem, Result, Stage, Step, outcome
from delivery.services import route_tests
from delivery.services.claims import host_of


def run_host(test_id: int, host: int) -> int | None:
    """Test the `host`-th host of a test. Returns the number of the next one, None when there is none."""
    test = route_tests.take_host(test_id, host, timezone.now())
    if test is None:
        return None
    if host < len(test.host_ids):
        found = RouteHost.objects.filter(pk=test.host_ids[host], route=test.route_id).first()
        if not _converse(test, found, host):
            return None
    if host + 1 < len(test.host_ids):
        route_tests.pass_on(test, timezone.now())
        return host + 1
    steps = [Step(**step) for step in test.steps]
    route_tests.finish(test, outcome(steps), timezone.now())
    return None


def _converse(test: RouteTest, found: RouteHost | None, number: int) -> bool:
    """Have the conversation, writing each step. False when the test is no longer ours to write."""

    def report(step: Step) -> bool:
        test.steps = [*test.steps, asdict(step)]
        return route_tests.write_steps(test, test.steps, timezone.now())

    if found is None:
        name = f"#{number + 1}"
        return report(Step(name, Stage.DNS.value, Result.FAILED.value, 0, "", Problem.HOST_REMOVED.value))
    plan = Plan(
        host=host_of(found),
        recipient=test.recipient,
        our_name=settings.GATEWAY_NAME,
        send_message=test.send_message,
        number=test.pk,
        now=timezone.now(),
    )
    return converse(plan, report)


def converse(plan: Plan, report: Callable[[Step], bool]) -> bool:
    """All steps until one fails; `report` is called outside the loop, and says whether to go on."""
    with asyncio.Runner() as runner:
        dialogue = Dialogue(plan)
        try:
            for stage in dialogue.stages:
                step = runner.run(dialogue.perform(stage))
                if not report(step):
                    return False
                if not _goes_on(step):
                    break
        finally:
            runner.run(dialogue.close())
    return True


def _goes_on(step: Step) -> bool:
    """A real message is not sent to a recipient that was just refused."""
    return step.result != Result.FAILED and not (step.stage == Stage.RCPT and step.result != Result.OK)
