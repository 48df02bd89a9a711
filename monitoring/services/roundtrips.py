"""Round-trip probes: which are due, which came back, and what they say about a window."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from delivery.services import sinks
from delivery.services.claims import Host
from monitoring import letters, rules
from monitoring.models import Monitor, Probe, Pulse
from monitoring.probe import Plan

logger = logging.getLogger(__name__)

# The gateway of a name is taken for gone when no process of that name was seen for so long.
NAME_LASTS = timedelta(minutes=5)

_Key = tuple[int, datetime, str]  # monitor, start of the window, nonce


def gateway_name(now: datetime) -> str:
    """The name of the gateway to which probes come back: one for all gateways of the installation.

    That of another gateway takes its place when no process has had it for five minutes: it was renamed.
    """
    pulse = Pulse.get()
    ours: str = settings.GATEWAY_NAME.lower()
    passed = abs(now - pulse.gateway_seen_at) if pulse.gateway_seen_at else NAME_LASTS
    if pulse.gateway_name == ours and passed < NAME_LASTS / 5:
        return ours
    if pulse.gateway_name not in ("", ours) and passed < NAME_LASTS:
        return pulse.gateway_name
    same = Pulse.objects.filter(pk=1, gateway_name=pulse.gateway_name, gateway_seen_at=pulse.gateway_seen_at)
    if same.update(gateway_name=ours, gateway_seen_at=now):
        return ours
    return Pulse.get().gateway_name


def ensure_sinks(monitors: Iterable[Monitor], now: datetime) -> None:
    """Give an address of its own at the gateway to each that has none. Those that are new are not saved.

    Made anew when the gateway has another name since: mail would not find the old one.
    """
    name = gateway_name(now)
    without = [one for one in monitors if one.sink is None or not one.sink.address.endswith(f"@{name}")]
    if not without:
        return
    with transaction.atomic():
        for monitor, sink in zip(
            without, sinks.new_sinks([one.account_id for one in without], name), strict=True
        ):
            monitor.sink = sink
        Monitor.objects.bulk_update([one for one in without if one.pk], ["sink"])


# --- Sending ------------------------------------------------------------------------------------------------


def claim(now: datetime) -> list[Plan]:
    """Write the rows of the probes that are due, and plan those that nobody else wrote first."""
    checks = Monitor.objects.watching().exclude(outbound_host="").select_related("sink")
    monitors = {monitor.pk: monitor for monitor in checks}
    if not monitors:
        return []
    starts = {pk: rules.window_start(now, one.window_seconds) for pk, one in monitors.items()}
    made = Probe.objects.filter(
        kind=Probe.Kind.OUTBOUND, monitor__in=monitors, window_start__gte=min(starts.values())
    )
    sent = set(made.values_list("monitor_id", "window_start"))
    due = [monitor for pk, monitor in monitors.items() if (pk, starts[pk]) not in sent]
    if not due:
        return []
    ours = uuid.uuid4()
    Probe.objects.bulk_create(
        [
            Probe(
                kind=Probe.Kind.OUTBOUND,
                monitor=monitor,
                window_start=starts[monitor.pk],
                started_at=now,
                nonce=uuid.uuid4().hex,
                claim=ours,
            )
            for monitor in due
        ],
        ignore_conflicts=True,
    )
    ensure_sinks(due, now)
    claimed = Probe.objects.filter(claim=ours, kind=Probe.Kind.OUTBOUND, started_at=now)
    return [plan(probe, monitors[probe.monitor_id], now) for probe in claimed]


def plan(probe: Probe, monitor: Monitor, now: datetime) -> Plan:
    """How one probe is handed in."""
    host = Host(
        monitor.outbound_host,
        monitor.outbound_port,
        monitor.outbound_tls,
        monitor.outbound_username,
        monitor.outbound_sealed_password,
    )
    assert monitor.sink
    recipient = monitor.sink.address
    sender = monitor.outbound_sender or monitor.outbound_username
    mark = letters.Mark(monitor.pk, probe.window_start, probe.nonce)
    return Plan(
        key=probe.pk,
        hosts=[host],
        recipient=recipient,
        limit=rules.probe_limit(monitor.window_seconds),
        our_name=settings.GATEWAY_NAME,
        sender=sender,
        letter=letters.letter(mark, sender=sender, recipient=recipient, now=now),
    )


# --- Coming back --------------------------------------------------------------------------------------------


def read_arrivals() -> int:
    """Take what the gateway filed, and note which probes are back. Returns how many are.

    Whatever is forged, was here before or is something else altogether counts for nothing, and goes.
    """
    mail = sinks.filed()
    if not mail:
        return 0
    came = _came(mail)
    waiting = Probe.objects.filter(
        kind__in=Probe.ROUND_TRIPS,
        monitor__in={monitor for _sink, (monitor, _start, _nonce) in came},
        window_start__in={start for _sink, (_monitor, start, _nonce) in came},
        arrived_at=None,
    ).select_related("monitor")
    back = []
    for probe in waiting:
        probe.arrived_at = came.get(
            (probe.monitor.sink_id or 0, (probe.monitor_id, probe.window_start, probe.nonce))
        )
        if probe.arrived_at:
            back.append(probe)
    Probe.objects.bulk_update(back, ["arrived_at"])
    sinks.forget(mail)
    if len(back) < len(mail):
        logger.warning("%d messages to probe addresses were no probes of ours", len(mail) - len(back))
    return len(back)


def _came(mail: Sequence[sinks.Filed]) -> dict[tuple[int, _Key], datetime]:
    """By sink and mark, when the first of each came."""
    came: dict[tuple[int, _Key], datetime] = {}
    for one in mail:
        for mark in letters.marks(one.data):
            key = (mark.monitor_id, mark.window_start, mark.nonce)
            came.setdefault((one.sink_id, key), one.received_at)
    return came


# --- What they say ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trips:
    """The round trips of one monitor that may say something about the windows in question."""

    latency: timedelta
    trips: Sequence[rules.RoundTrip]
    last: dict[datetime, rules.ProbeResult]  # by window start

    def result_in(self, start: datetime) -> rules.ProbeResult | None:
        """The last result in the window; of two at the same instant, the failure."""
        return self.last.get(start)

    def under_way(self, at: datetime) -> bool:
        return any(trip.is_under_way(at, self.latency) for trip in self.trips)


def of_monitors(monitors: Sequence[Monitor], since: datetime, until: datetime) -> dict[int, Trips]:
    """The round trips of each monitor that has an outbound check, in one query or none."""
    checks = {monitor.pk: monitor for monitor in monitors if monitor.has_outbound}
    if not checks:
        return {}
    longest = timedelta(seconds=max(one.outbound_latency_seconds for one in checks.values()))
    rows = Probe.objects.filter(
        kind=Probe.Kind.OUTBOUND, monitor__in=checks, started_at__gte=since - longest, started_at__lt=until
    )
    trips: dict[int, list[rules.RoundTrip]] = defaultdict(list)
    for row in rows:
        trips[row.monitor_id].append(
            rules.RoundTrip(row.started_at, row.finished_at, row.ok, row.reply, row.arrived_at)
        )
    return {pk: _trips(checks[pk], found) for pk, found in trips.items()}


def _trips(monitor: Monitor, trips: Sequence[rules.RoundTrip]) -> Trips:
    latency = timedelta(seconds=monitor.outbound_latency_seconds)
    results = [result for trip in trips if (result := trip.result(latency))]
    results.sort(key=lambda result: (result.at, not result.ok))
    last = {rules.window_start(result.at, monitor.window_seconds): result for result in results}
    return Trips(latency, trips, last)
