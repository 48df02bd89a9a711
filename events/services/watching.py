"""What monitoring saw besides outages: a fault of our own, and a mail server that comes and goes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from accounts.models import Contact
from accounts.services import SCHEDULER, Decision, decision
from events.services import notices
from events.services.alerts import alert_interval
from monitoring import reads as monitoring
from monitoring.models import Outage, Window


def accounts(now: datetime) -> list[int]:
    """Accounts whose windows were spoiled by a fault of our own lately, or one of whose monitors flaps."""
    flapping = monitoring.flapping(now).values_list("account", flat=True)
    return sorted({*monitoring.local_faults(now), *flapping})


def decide(account_id: int, now: datetime) -> int:
    """Tell of both when that is due; returns how many things were decided."""
    if not (_faulty(account_id, now) or _untold(account_id, now)):
        return 0
    decided = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        if windows := _faulty(account_id, now):
            decided += _tell_fault(made, windows)
        for outage in _untold(account_id, now):
            decided += _tell_flapping(made, outage)
    return decided


def _faulty(account_id: int, now: datetime) -> list[Window]:
    """The spoiled windows, unless the contacts were told within the alert interval."""
    windows = monitoring.local_faults(now).get(account_id, [])
    told_at = notices.last_at(account_id, "gateway", "local_fault.told") if windows else None
    return [] if told_at and now - told_at < alert_interval(account_id) else windows


def _tell_fault(made: Decision, windows: list[Window]) -> int:
    words = " ".join(dict.fromkeys(window.reply for window in windows))
    since = min(window.start for window in windows).isoformat()
    entry = made.record(
        "local_fault.told", subject="gateway", reply=words, monitors=[window.monitor_id for window in windows]
    )
    facts = {"monitor": windows[0].monitor.description, "since": since, "reply": words}
    contacts = _contacts(made, [window.monitor_id for window in windows])
    notices.tell(made, entry, "local_fault", facts, contacts)
    return 1


def _untold(account_id: int, now: datetime) -> list[Outage]:
    """The latest outage of each monitor that flaps, unless the contacts know."""
    latest = {outage.monitor_id: outage for outage in monitoring.flapping(now).filter(account_id=account_id)}
    untold = []
    for monitor_id, outage in latest.items():
        told_at = notices.last_at(account_id, f"monitor:{monitor_id}", "monitor.flapping")
        if outage.flapping_since and (told_at is None or told_at < outage.flapping_since):
            untold.append(outage)
    return untold


def _tell_flapping(made: Decision, outage: Outage) -> int:
    entry = made.record("monitor.flapping", subject=f"monitor:{outage.monitor_id}", outage=outage.pk)
    facts = {
        "monitor": outage.monitor.description,
        "since": outage.failing_since.isoformat(),
        "number": monitoring.openings_in_a_day(outage.monitor_id, made.now),
        "reply": outage.reply,
    }
    notices.tell(made, entry, "flapping", facts, _contacts(made, [outage.monitor_id]))
    return 1


def _contacts(made: Decision, monitor_ids: Collection[int]) -> list[Contact]:
    """Those of the monitors; everybody of the account where they have none."""
    active = Contact.objects.filter(account=made.account, active=True).order_by("pk")
    own = active.filter(monitors__in=monitor_ids).distinct()
    return list(own) or list(active)
