"""What is no longer needed: old windows and probes, the state of monitors that are switched off."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.services import SCHEDULER, decision
from monitoring import rules
from monitoring.models import Monitor, Outage, Probe, Window

logger = logging.getLogger(__name__)

# Clocks of different hosts may differ by so much before one takes the other's for wrong.
CLOCKS_DIFFER = timedelta(minutes=5)
# Rows deleted in one transaction, so that others wait for the lock only shortly.
DELETE_AT_ONCE = 2000


def delete_old(now: datetime) -> int:
    """Delete the windows and probes of all monitors that are older than 90 days. Returns how many rows."""
    return delete_old_of(list(Monitor.objects.values_list("pk", flat=True)), now)


def delete_old_of(monitor_ids: Collection[int], now: datetime) -> int:
    """`delete_old` for these monitors; judging calls it when a monitor has passed midnight (UTC)."""
    if not monitor_ids:
        return 0
    before = now - rules.KEEP_WINDOWS
    windows = Window.objects.filter(monitor_id__in=monitor_ids, end__lt=before)
    probes = Probe.objects.filter(monitor_id__in=monitor_ids, window_start__lt=before)
    return _delete(windows) + _delete(probes)


def forget_the_future(now: datetime) -> int:
    """Monitors judged beyond the present, by a clock that has been put back since, begin again.

    With the next window: else they would be blind until time has caught up. What they "saw" in the future is
    deleted; the counter stays. Returns how many monitors that were.
    """
    ahead = [
        monitor
        for monitor in Monitor.objects.watching().filter(judged_until__gt=now + CLOCKS_DIFFER)
        if monitor.judged_until and monitor.judged_until > now + timedelta(seconds=monitor.window_seconds)
    ]
    for monitor in ahead:
        length = timedelta(seconds=monitor.window_seconds)
        begin = rules.window_start(now, monitor.window_seconds) + length
        with transaction.atomic():
            same = Monitor.objects.filter(pk=monitor.pk, judged_until=monitor.judged_until)
            if same.update(judged_until=begin):
                Window.objects.filter(monitor=monitor, start__gte=now).delete()
                Window.objects.filter(monitor=monitor, end__gt=begin).update(end=begin)
                Probe.objects.filter(monitor=monitor, window_start__gte=now).delete()
                logger.warning("The clock was put back: monitor %s begins again", monitor.pk)
    return len(ahead)


def reset_switched_off(now: datetime) -> int:
    """Forget the counters of monitors that are off or have nothing to watch, and close their outages.

    A monitor that watches again starts from 0. Returns how many monitors were reset.
    """
    off = Monitor.objects.not_watching().filter(judged_until__isnull=False)
    accounts = set(off.values_list("account_id", flat=True))
    reset = 0
    for account_id in accounts:
        with decision(account_id, SCHEDULER, now=now) as taken:
            mine = list(off.filter(account_id=account_id).values_list("pk", flat=True))
            lasting = Outage.objects.filter(monitor_id__in=mine, closed_at=None).select_related("monitor")
            for outage in lasting:
                Outage.objects.filter(pk=outage.pk).update(closed_at=max(outage.opened_at, now))
                taken.record(
                    "outage.closed",
                    subject=f"outage:{outage.pk}",
                    before="open",
                    after="closed",
                    reason="Its route was removed."
                    if outage.monitor.active
                    else "The monitor was switched off.",
                    monitor=outage.monitor_id,
                )
            reset += off.filter(pk__in=mine).update(counter=0, judged_until=None)
    return reset


def _delete(old: QuerySet[Any]) -> int:
    deleted = 0
    while ids := list(old.values_list("pk", flat=True)[:DELETE_AT_ONCE]):
        deleted += old.model._default_manager.filter(pk__in=ids).delete()[0]
    return deleted
