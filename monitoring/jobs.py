"""RQ entry points of monitoring. Safe to run twice, and at the same time."""

from __future__ import annotations

from django.utils import timezone

from monitoring import services


def tick() -> None:
    """Judge what is due, probe where nothing happened; slow probes do not keep others from being judged."""
    _judge()
    if services.probe_due(timezone.now(), meanwhile=_judge):
        _judge()


def beat() -> None:
    """Say that monitoring lives, once a minute; a silent listener does not keep windows from being judged."""
    services.beat(timezone.now(), meanwhile=_judge)


def test(monitor_id: int) -> None:
    """Make the probes that somebody asked for. Windows go on being judged meanwhile."""
    services.run_test(monitor_id, timezone.now(), meanwhile=_judge)


def _judge() -> None:
    now = timezone.now()
    services.read_arrivals()
    services.judge_due(now)
    services.note_tick(now)
