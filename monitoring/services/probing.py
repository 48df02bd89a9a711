"""Probes: claimed by a row, made outside any transaction, recorded. `roundtrips` plans the outbound ones."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from django.conf import settings
from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Concat

from accounts.models import MailDomain, Person
from delivery import reads
from delivery.models import KnownRecipient, NextHop, RouteHost
from delivery.services.claims import Host, host_of
from monitoring import rules
from monitoring.models import Monitor, Probe
from monitoring.probe import Outcome, Plan, probe_all
from monitoring.services import roundtrips

# How often, in seconds, a caller that waits for slow probes gets something else done.
MEANWHILE_SECONDS = 1.0

Result = tuple[Plan, Outcome, float]


def probe_due(now: datetime, meanwhile: Callable[[], object] | None = None) -> int:
    """Probe the route of each monitor whose present window is half over and saw no real attempt, and send
    the round-trip probe of each monitor whose present window has none.

    Returns how many probes were made: all at the same time, within a minute altogether. While they are
    under way `meanwhile` is called every second. Twice at once does no harm: each window is claimed once.
    """
    return make(claim(now) + roundtrips.claim(now), now, meanwhile)


def make(plans: Sequence[Plan], now: datetime, meanwhile: Callable[[], object] | None = None) -> int:
    """Make these probes, and write each down as it ends. Returns how many they are."""
    if not plans:
        return 0
    began = time.monotonic()
    results: SimpleQueue[Result] = SimpleQueue()

    def done(plan: Plan, outcome: Outcome) -> None:
        results.put((plan, outcome, time.monotonic() - began))

    with ThreadPoolExecutor(1, "probes") as executor:
        # The thread has the network, this one the database.
        probing = executor.submit(probe_all, plans, done)
        for batch in _as_they_come(probing, results, meanwhile or (lambda: None)):
            _record(batch, now)
    probing.result()
    return len(plans)


def _as_they_come(
    probing: Future[None], results: SimpleQueue[Result], meanwhile: Callable[[], object]
) -> Iterable[list[Result]]:
    last = time.monotonic()
    while not (probing.done() and results.empty()):
        batch: list[Result] = []
        try:
            batch.append(results.get(timeout=0.05))
            while not results.empty():
                batch.append(results.get())
        except Empty:
            pass
        if batch:
            yield batch
        if time.monotonic() - last >= MEANWHILE_SECONDS:
            meanwhile()
            last = time.monotonic()


def claim(now: datetime) -> list[Plan]:
    """Write the rows of the probes that are due, and plan those that nobody else wrote first."""
    idle = _idle(_half_over(now), now)
    hosts = _hosts(monitor for monitor, _start in idle)
    idle = [(monitor, start) for monitor, start in idle if monitor.route_id in hosts]
    if not idle:
        return []
    claim = uuid.uuid4()
    Probe.objects.bulk_create(
        [Probe(monitor=monitor, window_start=start, started_at=now, claim=claim) for monitor, start in idle],
        ignore_conflicts=True,
    )
    return plans(list(Probe.objects.filter(claim=claim, started_at=now).select_related("monitor")), hosts)


def _hosts(monitors: Iterable[Monitor]) -> dict[int, list[Host]]:
    """The hosts of each route, in order of preference."""
    hosts: dict[int, list[Host]] = {}
    for host in RouteHost.objects.filter(route_id__in={monitor.route_id for monitor in monitors}):
        hosts.setdefault(host.route_id, []).append(host_of(host))
    return hosts


def plans(probes: Sequence[Probe], hosts: dict[int, list[Host]] | None = None) -> list[Plan]:
    """How these probes of routes are made; `hosts` of the routes, unless they are to be read."""
    if hosts is None:
        hosts = _hosts(probe.monitor for probe in probes)
    recipients = dict(_recipients(probe.monitor.account_id for probe in probes))
    suspect = set(
        NextHop.objects.filter(route_id__in=hosts, state=NextHop.State.SUSPECT).values_list(
            "route", flat=True
        )
    )
    return [
        Plan(
            key=probe.pk,
            hosts=hosts.get(probe.monitor.route_id or 0, ()),
            recipient=recipients.get(probe.monitor.account_id) or "postmaster",
            limit=rules.probe_limit(probe.monitor.window_seconds),
            our_name=settings.GATEWAY_NAME,
            strict=probe.monitor.route_id in suspect,
        )
        for probe in probes
    ]


def _half_over(now: datetime) -> list[tuple[Monitor, datetime]]:
    """The active monitors in the second half of their window, with its start."""
    monitors = Monitor.objects.filter(active=True, route__isnull=False).only(
        "account_id", "route_id", "window_seconds"
    )
    starts = [(monitor, rules.window_start(now, monitor.window_seconds)) for monitor in monitors]
    return [
        (monitor, start) for monitor, start in starts if rules.half_over(start, monitor.window_seconds, now)
    ]


def _idle(monitors: list[tuple[Monitor, datetime]], now: datetime) -> list[tuple[Monitor, datetime]]:
    """Those whose window has neither a probe nor a real attempt yet."""
    if not monitors:
        return []
    probed = set(
        Probe.objects.filter(
            kind=Probe.Kind.INBOUND,
            monitor__active=True,
            window_start__gte=min(start for _monitor, start in monitors),
        ).values_list("monitor_id", "window_start")
    )
    monitors = [(monitor, start) for monitor, start in monitors if (monitor.pk, start) not in probed]
    busy: set[tuple[int, int]] = set()
    for seconds in {monitor.window_seconds for monitor, _start in monitors}:
        own = [monitor for monitor, _start in monitors if monitor.window_seconds == seconds]
        routes = {monitor.route_id for monitor in own if monitor.route_id}
        seen = reads.evidence_by_window(
            routes, seconds, rules.window_start(now, seconds), now + timedelta(seconds=1)
        )
        busy |= {(route_id, seconds) for route_id, _start in seen}
    return [
        (monitor, start)
        for monitor, start in monitors
        if (monitor.route_id, monitor.window_seconds) not in busy
    ]


def _recipients(account_ids: Iterable[int]) -> QuerySet[MailDomain, tuple[int, str]]:
    """For each account an address to ask for: one that mail was delivered to, a person, or postmaster."""
    learned = (
        KnownRecipient.objects.filter(
            domain__account_id=OuterRef("account_id"), source=KnownRecipient.Source.LEARNED
        )
        .order_by("-pk")
        .values("address")[:1]
    )
    person = Person.objects.filter(account_id=OuterRef("account_id")).order_by("pk").values("address")[:1]
    # Descending, so that in the dict made of it the first domain of each account is the one that stays.
    return (
        MailDomain.objects.filter(account_id__in=set(account_ids))
        .order_by("-pk")
        .values_list(
            "account_id",
            Coalesce(
                Subquery(learned),
                Subquery(person),
                Concat(Value("postmaster@"), "name"),
                output_field=CharField(),  # an address of a person is an EmailField, the others are not
            ),
        )
    )


def _record(batch: list[Result], began: datetime) -> None:
    Probe.objects.bulk_update(
        [
            Probe(
                pk=plan.key,
                finished_at=began + timedelta(seconds=seconds),
                ok=outcome.ok,
                host=outcome.host[:260],
                stage=outcome.stage,
                reply=outcome.reply,
            )
            for plan, outcome, seconds in batch
        ],
        ["finished_at", "ok", "host", "stage", "reply"],
    )
