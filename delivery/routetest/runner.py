"""Runs a test: the network in a loop that stops between the steps, so that each is written as it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict

from django.conf import settings
from django.utils import timezone

from delivery.courier import mx
from delivery.models import RouteHost, RouteTest
from delivery.routetest.dialogue import Dialogue, Plan
from delivery.routetest.steps import Problem, Result, Stage, Step, outcome
from delivery.services import route_tests
from delivery.services.claims import Host, host_of


def run_host(test_id: int, host: int) -> int | None:
    """Test the `host`-th host of a test. Returns the number of the next one, None when there is none."""
    test = route_tests.take_host(test_id, host, timezone.now())
    if test is None:
        return None
    if not test.host_ids and not _look_up(test):
        return None
    if host < len(test.host_ids) and not _converse(test, _host(test, host), host):
        return None
    if host + 1 < len(test.host_ids):
        route_tests.pass_on(test, timezone.now())
        return host + 1
    steps = [Step(**step) for step in test.steps]
    route_tests.finish(test, outcome(steps), timezone.now())
    return None


def _look_up(test: RouteTest) -> bool:
    """The hosts of a route that names none: by MX, as the courier asks. False when the test is given up."""
    domain, began = test.recipient.rpartition("@")[2].lower(), time.monotonic()
    try:
        found = asyncio.run(mx.hosts_of(domain))
    except (mx.Undeliverable, mx.NoAnswer) as error:
        problem = Problem.DNS_AWAY if isinstance(error, mx.NoAnswer) else Problem.NO_ADDRESS
        passed = int((time.monotonic() - began) * 1000)
        return _report(test, Step(domain, Stage.DNS, Result.FAILED, passed, str(error), problem))
    test.host_ids = [[host.hostname, host.port, host.address] for host in found]
    return route_tests.write_hosts(test, test.host_ids, timezone.now())


def _host(test: RouteTest, number: int) -> Host | None:
    entry = test.host_ids[number]
    if isinstance(entry, list):
        name, port, address = entry
        return Host(name, port, RouteHost.Tls.OPPORTUNISTIC, address=address)
    row = RouteHost.objects.select_related("route").filter(pk=entry, route=test.route_id).first()
    return host_of(row, xclient=row.route.xclient) if row else None


def _converse(test: RouteTest, host: Host | None, number: int) -> bool:
    """Have the conversation, writing each step. False when the test is no longer ours to write."""
    if host is None:
        return _report(
            test, Step(f"#{number + 1}", Stage.DNS, Result.FAILED, 0, problem=Problem.HOST_REMOVED)
        )
    plan = Plan(
        host=host,
        recipient=test.recipient,
        our_name=settings.GATEWAY_NAME,
        send_message=test.send_message,
        number=test.pk,
        now=timezone.now(),
        mx_of=test.recipient.rpartition("@")[2] if host.address else "",
    )
    return converse(plan, lambda step: _report(test, step))


def _report(test: RouteTest, step: Step) -> bool:
    test.steps = [*test.steps, asdict(step)]
    return route_tests.write_steps(test, test.steps, timezone.now())


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
