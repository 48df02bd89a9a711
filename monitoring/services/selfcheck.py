"""Is it us? Asked before a failure counts, and regularly, to know who outside answers on a good day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from delivery import reads
from delivery.models import RouteHost
from delivery.ourselves import is_loopback
from monitoring import local_rules, ourselves, rules
from monitoring.models import Monitor, Pulse

# Hosts that are looked up when very many monitors fail at once: they need not all be asked.
MOST_HOSTS = 8
_REPLY = re.compile(r"[245]\d\d ")


@dataclass
class _Check:
    """What the failed windows of one monitor need of us."""

    hosts: list[str] = field(default_factory=list)
    case: local_rules.Case = field(default_factory=local_rules.Case)


def local_faults(failing: Sequence[tuple[Monitor, rules.Judged]], now: datetime) -> dict[int, str]:
    """For each monitor whose failed windows may be a fault of our own: that fault, in words.

    Looks at ourselves, which may take seconds: call it outside any transaction, and only with failures.
    """
    checks = _checks(failing)
    hosts = [host for check in checks.values() for host in check.hosts if not is_loopback(host)]
    hosts = list(dict.fromkeys(hosts))[:MOST_HOSTS]
    found = local_rules.faults(_facts(hosts, any(check.case.round_trip for check in checks.values()), now))
    words = {}
    for pk, check in checks.items():
        reasons = [fault.words for fault in found if check.case.is_explained_by(fault)]
        if reasons:
            words[pk] = " ".join(reasons)
    return words


def with_faults(
    judged: Iterable[rules.Judged], words: str
) -> list[tuple[datetime, datetime, rules.Evidence]]:
    """The windows again, the failed ones as faults of our own."""
    return [
        (one.start, one.end, replace(one.evidence, local_fault=words) if _failed(one) else one.evidence)
        for one in judged
    ]


def _failed(judged: rules.Judged) -> bool:
    return judged.judgement.verdict is rules.Verdict.FAILURE


def remember_witnesses(answers: dict[str, Any]) -> None:
    """Note who answered just now."""
    pulse = Pulse.get()
    now = timezone.now().isoformat()
    seen = {name: now for name in (ourselves.DNS, ourselves.RELAY) if answers.get(name)}
    if seen:
        Pulse.objects.filter(pk=pulse.pk).update(witnesses=pulse.witnesses | seen)


def _checks(failing: Sequence[tuple[Monitor, rules.Judged]]) -> dict[int, _Check]:
    hosts: dict[int, list[str]] = {}
    routes = {monitor.route_id for monitor, _judged in failing if monitor.route_id}
    for route_id, name in RouteHost.objects.filter(route_id__in=routes).values_list("route_id", "hostname"):
        hosts.setdefault(route_id, []).append(name)
    found: dict[int, _Check] = {}
    for monitor, judged in failing:
        judgement = judged.judgement
        trip = judgement.source is rules.Source.ROUND_TRIP
        own = [monitor.outbound_host] if trip else hosts.get(monitor.route_id or 0, [])
        lost = trip and bool(judged.evidence.round_trip and judged.evidence.round_trip.lost)
        check = found[monitor.pk] = _Check(own)
        check.case = local_rules.Case(
            remote=any(not is_loopback(host) for host in own),
            named=any(ourselves.is_name(host) for host in own),
            round_trip=lost,
            answered=lost or bool(_REPLY.match(judgement.reply)),
            delivering=judgement.source is rules.Source.DELIVERY,
        )
    return found


def _facts(hosts: Sequence[str], round_trip: bool, now: datetime) -> local_rules.Facts:
    free, error, written = ourselves.disk()
    names = [host for host in hosts if ourselves.is_name(host)]
    addresses = [host.strip("[]") for host in hosts if host not in names]
    answers: dict[str, Any] = {}
    if hosts or round_trip:
        answers = ourselves.look(names, addresses, gateway=round_trip)
        remember_witnesses(answers)
    known = Pulse.get().witnesses if hosts else {}
    alive = [name for name, at in known.items() if _is_recent(at)]
    return local_rules.Facts(
        disk_free=free,
        disk_needed=settings.DISK_FAILED_MB * 1_000_000,
        disk_error=error,
        clock_off=ourselves.clock_off(written),
        stuck_for=reads.stuck_for(now),
        ways=tuple(answers.get("ways", ())),
        witnesses=tuple(bool(answers.get(name)) for name in alive),
        resolved=bool(answers.get("names")) if names else None,
        resolver=bool(answers.get(ourselves.DNS)) if names else None,
        gateway=bool(answers.get("gateway")) if round_trip else None,
    )


def _is_recent(at: str) -> bool:
    moment = parse_datetime(at)
    return moment is not None and timezone.now() - moment < local_rules.WITNESS_LASTS
