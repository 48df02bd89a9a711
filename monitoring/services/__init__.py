"""The only writer of what monitoring knows: probes, judged windows, outages."""

from monitoring.services.housekeeping import delete_old
from monitoring.services.judging import judge_due
from monitoring.services.probing import probe_due

__all__ = ["delete_old", "judge_due", "probe_due"]
