"""Outages open, close, open again, and flap. Under the account lock, each with its audit row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from accounts.services import Decision
from monitoring import rules
from monitoring.models import Monitor, Outage, Window


def move(taken: Decision, monitor: Monitor, outage: Outage | None, judged: Sequence[rules.Judged]) -> None:
    """Open and close what the windows say, in their order. `outage` is the one that is open before them.

    One that is still open at the end opens now, when it was noticed: who silenced alerts a second ago has
    not silenced this one. In a run that catches up, the others get the times of their windows.
    """
    moves = [window for window in judged if window.opens or window.closes]
    for number, window in enumerate(moves):
        if window.opens:
            last = number == len(moves) - 1
            outage = _open(taken, monitor, window, taken.now if last else window.end)
        elif outage:
            _close(taken, outage, window)


def _open(taken: Decision, monitor: Monitor, window: rules.Judged, at: datetime) -> Outage:
    """A new outage, or the one that closed just now, open again."""
    lately = list(
        Outage.objects.filter(monitor=monitor).order_by("-opened_at")[: rules.FLAPPING_OPENINGS + 1]
    )
    before = lately[0] if lately else None
    again = before is not None and before.recovered and rules.is_same_outage(before.closed_at, at)
    if before is None or not again:
        outage = Outage(
            account_id=monitor.account_id,
            monitor=monitor,
            failing_since=_failing_since(monitor, window),
            opened_at=at,
        )
    else:
        outage = before
    outage.closed_at, outage.recovered, outage.reply = None, False, window.judgement.reply
    outage.openings = [*outage.openings, at.isoformat()]
    others = [one for one in lately if one.pk != outage.pk]
    openings = [datetime.fromisoformat(text) for one in [*others, outage] for text in one.openings]
    if rules.flaps(openings, at) and outage.flapping_since is None:
        # One stretch of flapping, however many outages it is made of.
        still = others[0].flapping_since if others and rules.flaps(openings[:-1], at) else None
        outage.flapping_since = still or at
    outage.save()
    taken.record(
        "outage.reopened" if again else "outage.opened",
        subject=f"outage:{outage.pk}",
        after="open",
        monitor=monitor.pk,
        counter=window.counter,
        threshold=monitor.threshold,
        failing_since=outage.failing_since.isoformat(),
        source=window.judgement.source,
        reply=outage.reply,
        flapping=outage.flapping_since is not None,
    )
    return outage


def _close(taken: Decision, outage: Outage, window: rules.Judged) -> None:
    outage.closed_at, outage.recovered = max(outage.last_opened_at, window.end), True
    Outage.objects.filter(pk=outage.pk, closed_at=None).update(closed_at=outage.closed_at, recovered=True)
    taken.record(
        "outage.closed",
        subject=f"outage:{outage.pk}",
        before="open",
        after="closed",
        monitor=outage.monitor_id,
        counter=window.counter,
        source=window.judgement.source,
        reply=window.judgement.reply,
    )


def _failing_since(monitor: Monitor, tripped: rules.Judged) -> datetime:
    """The start of the first failed window since the counter was last 0 or the last outage closed."""
    before = Window.objects.filter(monitor=monitor, end__lte=tripped.end)
    calm = before.filter(counter=0).order_by("-end").values_list("end", flat=True).first()
    closed = (
        Outage.objects.filter(monitor=monitor, closed_at__isnull=False)
        .order_by("-closed_at")
        .values_list("closed_at", flat=True)
        .first()
    )
    failed = before.filter(verdict=Window.Verdict.FAILURE)
    for since in (calm, closed):
        if since:
            failed = failed.filter(start__gte=since)
    first = failed.order_by("start").values_list("start", flat=True).first()
    return first or tripped.start
