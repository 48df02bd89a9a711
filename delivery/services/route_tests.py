"""Asking for the test of a route, and what its runner writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import django_rq
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.models import MailDomain
from accounts.services import Actor, Refused, decision
from delivery.models import Route, RouteTest

logger = logging.getLogger(__name__)

KEPT_PER_ROUTE = 50
# A busy worker may be probing a silent server for a minute, and then another.
WAITS = timedelta(minutes=3)
# How long one host may take (steps.HOST_SECONDS), and what starting and stopping may add.
RUNS = timedelta(seconds=60)
QUEUE = "checks"


def start(
    route: Route,
    actor: Actor,
    recipient: str,
    *,
    send_message: bool = False,
    here: bool = False,
    request_key: str | None = None,
    now: datetime | None = None,
) -> RouteTest:
    """Ask for a test; a worker takes it up, or the caller if `here`. Raises Refused, AlreadyDone."""
    with decision(route.account_id, actor, request_key=request_key, now=now) as decided:
        _check(route, recipient, decided.now)
        test = RouteTest.objects.create(
            route=route,
            asked_at=decided.now,
            asked_by=actor.name,
            recipient=recipient,
            send_message=send_message,
            until=decided.now + WAITS,
            host_ids=list(route.hosts.values_list("pk", flat=True)),
        )
        old = route.tests.order_by("-pk").values_list("pk", flat=True)[KEPT_PER_ROUTE:]
        route.tests.filter(pk__in=list(old)).delete()
        decided.record(
            "route.tested",
            subject=f"route:{route.pk}",
            after=route.name,
            test=test.pk,
            recipient=recipient,
            message=send_message,
        )
        if not here:
            transaction.on_commit(partial(enqueue, test.pk, 0))
    return test


def usual_recipient(route: Route) -> str:
    """Whom to ask for when nobody said: every domain of ours has a postmaster (RFC 5321 4.5.1)."""
    if route.kind != Route.Kind.INBOUND:
        return ""
    domain = MailDomain.objects.filter(account_id=route.account_id).order_by("pk").first()
    return f"postmaster@{domain.name}" if domain else ""


def _check(route: Route, recipient: str, now: datetime) -> None:
    if route.kind == Route.Kind.INBOUND and not route.hosts.exists():
        raise Refused(_("The route has no host yet. Add one, then test it."))
    if any(not test.interrupted(now) for test in route.tests.exclude(state=RouteTest.State.DONE)):
        raise Refused(_("A test of this route is running already."))
    if not recipient.isascii():
        raise Refused(_("Choose a recipient whose address is written in plain letters."))
    if route.kind == Route.Kind.INBOUND:
        domain = recipient.rpartition("@")[2].lower()
        if not MailDomain.objects.filter(account_id=route.account_id, name=domain).exists():
            raise Refused(
                _("%(domain)s is not a domain of this account: its mail does not go this way.")
                % {"domain": domain}
            )


def enqueue(test_id: int, host: int) -> None:
    """One job tests one host, so that monitoring on the same worker never waits for a whole route.

    The job may take longer than a host: the system's resolver cannot be stopped while it waits.
    """
    try:
        django_rq.get_queue(QUEUE).enqueue(
            "delivery.routetest.jobs.run", test_id, host, at_front=True, result_ttl=0, job_timeout=120
        )
    except RedisError as error:  # it shows as interrupted when its time is over
        logger.warning("route test %s has no worker: %s", test_id, type(error).__name__)


def write_hosts(test: RouteTest, hosts: Sequence[Any], now: datetime) -> bool:
    """What was found out about the hosts of a route that names none. False when the test is given up."""
    mine = RouteTest.objects.filter(
        pk=test.pk, state=RouteTest.State.RUNNING, next_host=test.next_host, until__gte=now
    )
    return mine.update(host_ids=hosts) == 1


def take_host(test_id: int, host: int, now: datetime) -> RouteTest | None:
    """Claim the `host`-th host of a test: None when another did, or its time is over."""
    taken = RouteTest.objects.filter(
        pk=test_id,
        next_host=host,
        until__gte=now,
        state__in=(RouteTest.State.WAITING, RouteTest.State.RUNNING),
    ).update(next_host=F("next_host") + 1, state=RouteTest.State.RUNNING, until=now + RUNS)
    return RouteTest.objects.select_related("route").get(pk=test_id) if taken else None


def write_steps(test: RouteTest, steps: Sequence[Mapping[str, Any]], now: datetime) -> bool:
    """Show how far the runner is. False when it should stop: the test was removed or given up."""
    mine = RouteTest.objects.filter(
        pk=test.pk, state=RouteTest.State.RUNNING, next_host=test.next_host, until__gte=now
    )
    return mine.update(steps=steps) == 1


def pass_on(test: RouteTest, now: datetime) -> None:
    """The host is through; the next one waits for its turn."""
    mine = RouteTest.objects.filter(pk=test.pk, state=RouteTest.State.RUNNING, next_host=test.next_host)
    mine.update(until=now + WAITS)


def finish(test: RouteTest, result: str, now: datetime) -> None:
    """All hosts are through."""
    mine = RouteTest.objects.filter(pk=test.pk, state=RouteTest.State.RUNNING, next_host=test.next_host)
    mine.update(state=RouteTest.State.DONE, result=result, ended_at=now)


def confirm_arrival(
    test: RouteTest, actor: Actor, *, request_key: str | None = None, now: datetime | None = None
) -> None:
    """A person says that the test message is in the mailbox. Raises Refused, AlreadyDone."""
    with decision(test.route.account_id, actor, request_key=request_key, now=now) as decided:
        waiting = RouteTest.objects.filter(
            pk=test.pk, send_message=True, state=RouteTest.State.DONE, arrived_at=None
        )
        if not waiting.update(arrived_at=decided.now, arrived_by=actor.name):
            raise Refused(_("There is no test message whose arrival could be confirmed."))
        decided.record("route.test_arrived", subject=f"route:{test.route_id}", test=test.pk)
