"""A pause that was forgotten, and a disk that it fills: the contacts are told while deliveries are held."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Max
from django.db.models.functions import Coalesce

from accounts.services import SCHEDULER, Decision, decision
from delivery import reads as delivery
from delivery.models import Pause
from delivery.reads import DiskForecast
from events import rules
from events.models import ContinuityEvent
from events.services import notices


def accounts() -> list[int]:
    """Accounts whose deliveries are paused."""
    return list(Pause.objects.filter(ended_at=None).order_by("pk").values_list("account", flat=True))


def decide(account_id: int, now: datetime) -> int:
    """Remind of the pause and warn of the disk when that is due; returns how many things were decided."""
    if not (_forgotten(account_id, now) or _disk_fills(account_id, now)):
        return 0
    decided = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        if pause := _forgotten(account_id, now):
            decided += _remind(made, pause)
        if forecast := _disk_fills(account_id, now):
            decided += _warn(made, forecast)
    return decided


def _forgotten(account_id: int, now: datetime) -> Pause | None:
    """The pause, when for 12 h nobody was told of it and no event was active."""
    pause = Pause.objects.filter(account=account_id, ended_at=None).first()
    active = ContinuityEvent.objects.active(now).for_everyone().filter(account=account_id)
    if pause is None or active.exists():
        return None
    over = ContinuityEvent.objects.exclude(state=ContinuityEvent.State.SCHEDULED).filter(account=account_id)
    last_event = over.aggregate(last=Max(Coalesce("ended_at", "ends_at")))["last"]
    told_at = notices.last_at(account_id, f"pause:{pause.pk}", "pause.reminded")
    since = max(instant for instant in (pause.started_at, last_event, told_at) if instant)
    return pause if now - since >= rules.PAUSE_REMINDER else None


def _disk_fills(account_id: int, now: datetime) -> DiskForecast | None:
    """The forecast, when the disk is full within a day and nobody was told of it lately."""
    pause = Pause.objects.filter(account=account_id, ended_at=None).first()
    forecast = delivery.disk_forecast(account_id, now) if pause else None
    if forecast is None or forecast.full_at is None or forecast.full_at - now > rules.DISK_WARNING:
        return None
    told_at = notices.last_at(account_id, "disk", "disk.warned")
    return None if told_at and now - told_at < rules.PAUSE_REMINDER else forecast


def _remind(made: Decision, pause: Pause) -> int:
    queue = delivery.queue_figures(made.account.pk)
    entry = made.record("pause.reminded", subject=f"pause:{pause.pk}", number=queue.queued)
    facts = {
        "since": pause.started_at.isoformat(),
        "who": pause.started_by,
        "queued": queue.queued,
        "oldest": queue.oldest.isoformat() if queue.oldest else None,
    }
    notices.tell(made, entry, "paused", facts)
    return 1


def _warn(made: Decision, forecast: DiskForecast) -> int:
    assert forecast.full_at
    full_at = max(forecast.full_at, made.now).isoformat()
    entry = made.record("disk.warned", subject="disk", full_at=full_at, free=forecast.free)
    notices.tell(
        made, entry, "disk", {"at": full_at, "queued": delivery.queue_figures(made.account.pk).queued}
    )
    return 1
