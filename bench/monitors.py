"""One tick of monitoring over many monitors: with nothing to do, and with a window of each to judge.

    python -m bench.monitors --monitors 1000

In a database of its own (SQLite) in a temporary directory; prints milliseconds, the median of the rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import django

from bench.support import arguments, load

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=2)


def main() -> None:
    given = arguments(__doc__ or "", monitors=1000).parse_args()
    with tempfile.TemporaryDirectory(prefix="ct-bench-") as directory:
        os.environ |= {"DATA_DIR": directory, "DATABASE_URL": "", "SECRET_KEY": "only-for-benchmarks-" * 3}
        os.environ["DJANGO_SETTINGS_MODULE"] = "continuity_site.settings"
        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        _fill(given.monitors)
        print(f"{given.monitors} monitors with both checks, {load()}")
        idle = [_timed(lambda: _tick(START + timedelta(seconds=70))) for _ in range(given.rounds)]
        judging = [
            _timed(lambda number=number: _tick(START + number * WINDOW + timedelta(seconds=1)))  # type: ignore[misc]
            for number in range(1, given.rounds + 1)
        ]
        for words, times in (("nothing to do", idle), ("a window of each judged", judging)):
            shown = ", ".join(f"{value:.0f}" for value in times)
            print(f"{words:28}{statistics.median(times):8.0f} ms   ({shown})")
        connections.close_all()


def _tick(now: datetime) -> None:
    """All of a tick but the network: no probe is due in the first half of a window, or it was made."""
    from monitoring import services
    from monitoring.services import probing, roundtrips

    services.read_arrivals()
    services.judge_due(now)
    services.note_tick(now)
    probing.claim(now)
    roundtrips.claim(now)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _fill(number: int) -> None:
    from tests.support.monitors import watched

    watched(number, START)


if __name__ == "__main__":
    sys.exit(main())
