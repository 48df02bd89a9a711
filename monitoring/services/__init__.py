"""The only writer of what monitoring knows: probes, judged windows, outages."""

from monitoring.services.housekeeping import delete_old
from monitoring.services.judging import judge_due
from monitoring.services.probing import probe_due
from monitoring.services.pulse import beat, note_tick
from monitoring.services.roundtrips import ensure_sinks, read_arrivals
from monitoring.services.testing import run_test, start_test, unfinished

__all__ = [
    "beat",
    "delete_old",
    "ensure_sinks",
    "judge_due",
    "note_tick",
    "probe_due",
    "read_arrivals",
    "run_test",
    "start_test",
    "unfinished",
]
