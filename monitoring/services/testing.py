"""A monitor's checks made at once because somebody asks: outside the windows, so that no counter moves."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import django_rq
from django.db import transaction
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from accounts.services import Actor, Refused, decision
from monitoring.models import Monitor, Probe
from monitoring.rules import PROBE_LIMIT_SECONDS
from monitoring.services import probing, roundtrips

logger = logging.getLogger(__name__)

# A busy worker may be probing a silent server for a minute, and then another.
WAITS = timedelta(minutes=3)
# A probe's limit, and what starting it and writing it down may add.
RUNS = timedelta(seconds=PROBE_LIMIT_SECONDS + 15)
QUEUE = "checks"


def unfinished(probe: Probe, now: datetime) -> bool:
    """Whether a test still waits for a worker, or a worker for the server's answer."""
    return probe.finished_at is None and now <= probe.started_at + (RUNS if probe.claim else WAITS)


def start_test(
    monitor: Monitor, actor: Actor, *, request_key: str | None = None, now: datetime | None = None
) -> None:
    """Ask for a test of the monitor's checks; a worker takes it up. Raises Refused, AlreadyDone."""
    with decision(monitor.account_id, actor, request_key=request_key, now=now) as decided:
        kinds = [
            kind
            for kind, wanted in (
                (Probe.Kind.TEST_INBOUND, monitor.has_inbound),
                (Probe.Kind.TEST_OUTBOUND, monitor.has_outbound),
            )
            if wanted
        ]
        if not kinds:
            raise Refused(_("This monitor watches nothing, so there is nothing to test. Change it first."))
        latest = list(monitor.probes.filter(kind__in=Probe.TESTS).order_by("-window_start")[:2])
        if any(unfinished(probe, decided.now) for probe in latest):
            raise Refused(_("A test of this monitor is running already."))
        asked = decided.now.replace(microsecond=0)
        if latest:  # a second test within a second has its own
            asked = max(asked, latest[0].window_start + timedelta(seconds=1))
        Probe.objects.bulk_create(
            Probe(
                kind=kind, monitor=monitor, window_start=asked, started_at=decided.now, nonce=uuid.uuid4().hex
            )
            for kind in kinds
        )
        decided.record(
            "monitor.tested",
            subject=f"monitor:{monitor.pk}",
            after=monitor.description,
            test=asked.isoformat(),
            checks=kinds,
        )
        transaction.on_commit(partial(_enqueue, monitor.pk))


def _enqueue(monitor_id: int) -> None:
    try:
        django_rq.get_queue(QUEUE).enqueue(
            "monitoring.jobs.test", monitor_id, at_front=True, result_ttl=0, job_timeout=120
        )
    except RedisError as error:  # it shows as interrupted when its time is over
        logger.warning("the test of monitor %s has no worker: %s", monitor_id, type(error).__name__)


def run_test(monitor_id: int, now: datetime, meanwhile: Callable[[], object] | None = None) -> int:
    """Make the probes of a test that nobody took up yet. Returns how many. Twice at once does no harm."""
    tests = Probe.objects.filter(monitor=monitor_id, kind__in=Probe.TESTS)
    ours = uuid.uuid4()
    if not tests.filter(claim=None, started_at__gte=now - WAITS).update(claim=ours, started_at=now):
        return 0
    taken = list(tests.filter(claim=ours).select_related("monitor__sink"))
    inbound = [probe for probe in taken if probe.kind == Probe.Kind.TEST_INBOUND]
    outbound = [probe for probe in taken if probe.kind == Probe.Kind.TEST_OUTBOUND]
    roundtrips.ensure_sinks([probe.monitor for probe in outbound], now)
    plans = probing.plans(inbound) if inbound else []
    plans += [roundtrips.plan(probe, probe.monitor, now) for probe in outbound]
    return probing.make(plans, now, meanwhile)
