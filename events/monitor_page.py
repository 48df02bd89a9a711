"""One monitor: the answer to "why do I get this message several times a day?".

Here, above monitoring and notifications, because it shows both: windows and outages, alerts and suspensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from accounts.models import AuditEntry
from events.rules import alerts_in
from events.services.alerts import alert_interval
from monitoring import history, replay
from monitoring.charts import CounterChart, counter_chart
from monitoring.models import Monitor, Outage, Window
from notifications.models import Suspension

WINDOWS, OUTAGES, ROWS = 30, 5, 60
# What the chart shows at choice, in windows: of the usual ones a day, a week, and 30 days.
RANGES = (720, 5_040, replay.MOST_WINDOWS)
AROUND = 30
"""So many windows before and after it when an outage is looked at."""


@require_GET
@account_required
def monitor(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Counter, outages and their reasons, what other thresholds would have done, and every window."""
    found = get_object_or_404(
        Monitor.objects.select_related("route", "account").annotate(
            open_since=Min("outages__failing_since", filter=Q(outages__closed_at=None))
        ),
        pk=pk,
        account=request.account,
    )
    now = timezone.now()
    month = history.latest_stretches(found, _span(found), now)
    looked_at = _outage(request, found)
    since, until, chosen = _range(request, found, looked_at, now)
    inside = since >= now - _span(found)
    outages, older_outages = _outages(request, found)
    windows, older_windows = _windows(request, found, until if looked_at else None)
    shown = month if inside else history.stretches(found, since, until)
    of_chart = list(
        found.outages.filter(Q(closed_at=None) | Q(closed_at__gt=since), opened_at__lt=until).order_by(
            "opened_at"
        )
    )
    chart = _chart(found, shown, of_chart, since, until)
    return render(
        request,
        "monitoring/detail.html",
        {
            "monitor": found,
            "chart": chart if chart.line else None,
            "flapping_since": next((one.flapping_since for one in of_chart if one.flapping_since), None),
            "rows": [one for one in shown if one.end > since and one.start < until][: -ROWS - 1 : -1],
            "ranges": [_choice(found, number, chosen) for number in RANGES],
            "looked_at": looked_at,
            "windows": windows,
            "older_windows": older_windows,
            "outages": history.why(outages),
            "older_outages": older_outages,
            "opens_after": found.threshold * found.window_seconds,
            "half": found.threshold // 2,
            **_what_if(found, month, now),
        },
    )


def _span(monitor: Monitor) -> timedelta:
    """How far back windows are replayed."""
    return min(replay.REPLAYED, replay.MOST_WINDOWS * timedelta(seconds=monitor.window_seconds))


def _number(request: ConsoleRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def _outage(request: ConsoleRequest, monitor: Monitor) -> Outage | None:
    """The outage that the address names, or None when it names none. Raises Http404."""
    if "outage" not in request.GET:
        return None
    found = monitor.outages.filter(pk=_number(request, "outage") or 0).first()
    if found is None:
        raise Http404
    return found


def _range(
    request: ConsoleRequest, monitor: Monitor, outage: Outage | None, now: datetime
) -> tuple[datetime, datetime, int]:
    """From when to when the chart goes, and the chosen number of windows, 0 around an outage."""
    length = timedelta(seconds=monitor.window_seconds)
    if outage:
        around = AROUND * length
        return outage.failing_since - around, min((outage.closed_at or now) + around, now), 0
    chosen = _number(request, "windows")
    number = chosen if chosen in RANGES else RANGES[0]
    return now - number * length, now, number


def _choice(monitor: Monitor, number: int, chosen: int) -> tuple[int, str, bool]:
    hours = number * monitor.window_seconds // 3600
    if hours >= 72:
        return number, ngettext("%(n)s day", "%(n)s days", hours // 24) % {"n": hours // 24}, number == chosen
    return number, ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": hours}, number == chosen


def _outages(request: ConsoleRequest, monitor: Monitor) -> tuple[list[Outage], int | None]:
    """A page of outages, the newest first, and where the next page begins."""
    rows = monitor.outages.prefetch_related("alert_streams__contact").order_by("-pk")
    if before := _number(request, "outages"):
        rows = rows.filter(pk__lt=before)
    found = list(rows[: OUTAGES + 1])
    return found[:OUTAGES], found[OUTAGES - 1].pk if len(found) > OUTAGES else None


def _windows(
    request: ConsoleRequest, monitor: Monitor, until: datetime | None
) -> tuple[list[Window], int | None]:
    """A page of windows, the newest first, and where the next page begins."""
    rows = monitor.windows.order_by("-end")
    before = _number(request, "before")
    last = monitor.windows.filter(pk=before).values_list("start", flat=True).first() if before else None
    if edge := last or until:
        rows = rows.filter(end__lte=edge)
    found = list(rows[: WINDOWS + 1])
    return found[:WINDOWS], found[WINDOWS - 1].pk if len(found) > WINDOWS else None


def _chart(
    monitor: Monitor,
    stretches: Sequence[replay.Stretch],
    outages: Sequence[Outage],
    since: datetime,
    until: datetime,
) -> CounterChart:
    alerts = AuditEntry.objects.filter(
        account_id=monitor.account_id,
        subject__in=[f"outage:{one.pk}" for one in outages],
        action__in=("alert.decided", "alert.escalated"),
    )
    # Only what silenced one of these outages: a suspension covers those that were open when it was made.
    first = min((one.opened_at for one in outages), default=until)
    silences = Suspension.objects.filter(
        account_id=monitor.account_id, until__gt=since, made_at__lt=until, made_at__gte=first
    )
    return counter_chart(
        stretches,
        [(one.opened_at, one.closed_at) for one in outages],
        threshold=monitor.threshold,
        since=since,
        until=until,
        alerts=alerts.order_by("number").values_list("at", flat=True),
        silences=silences.order_by("made_at").values_list("made_at", "until"),
    )


@dataclass(frozen=True)
class Line:
    """One threshold in the table; `alerts` are those that each contact would have got."""

    outcome: replay.Outcome
    alerts: int
    is_current: bool
    is_best: bool


def _what_if(monitor: Monitor, month: Sequence[replay.Stretch], now: datetime) -> dict[str, Any]:
    """The table of thresholds, and the recommendation unless there is too little to go by."""
    judged = sum(stretch.windows for stretch in month if stretch.verdict != Window.Verdict.UNKNOWN)
    found = replay.outcomes(month, monitor.threshold, now)
    advice = replay.advise(found, monitor.threshold, timedelta(seconds=monitor.window_seconds))
    enough = judged >= replay.LEAST_WINDOWS
    interval = alert_interval(monitor.account_id)
    return {
        "lines": [
            Line(
                outcome,
                sum(
                    alerts_in([(opened, closed or now) for opened, closed in one.spans], interval)
                    for one in outcome.outages
                ),
                outcome is advice.current,
                enough and outcome is advice.best,
            )
            for outcome in found
        ],
        "advice": advice if enough else None,
        "advice_words": advice_words(advice) if enough else "",
        "replayed": now - month[0].start if month else None,
        "least": replay.LEAST_WINDOWS * monitor.window_seconds,
        "interval": interval,
    }


def times(number: int) -> str:
    """How often, in words."""
    if number == 0:
        return _("never")
    if number == 1:
        return _("once")
    if number == 2:
        return _("twice")
    return _("%(n)s times") % {"n": number}


def advice_words(advice: replay.Advice) -> str:
    """The recommendation in one sentence, with its reason."""
    best, current = advice.best, advice.current
    facts = {
        "best": best.threshold,
        "often": times(len(best.outages)),
        "now": times(len(current.outages)),
        "after": _minutes(best.longest.noticed_after) if best.longest else "",
    }
    if not advice.changes:
        if not current.longest:
            return _("Keep %(best)s: nothing happened that would have alerted anybody.") % facts
        return (
            _("Keep %(best)s: it alerted %(now)s, and the longest outage was noticed after %(after)s.")
            % facts
        )
    if not best.longest:
        return (
            _("With %(best)s this would not have alerted at all, not %(now)s: every outage was soon over.")
            % facts
        )
    if len(best.outages) == len(current.outages):
        return (
            _(
                "With %(best)s this would have alerted as often, and the longest outage would have been "
                "noticed after %(after)s, earlier than now."
            )
            % facts
        )
    return (
        _(
            "With %(best)s this would have alerted %(often)s, not %(now)s, and the longest outage would "
            "still have been noticed after %(after)s."
        )
        % facts
    )


def _minutes(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    if seconds < 120:
        return ngettext("%(n)s second", "%(n)s seconds", seconds) % {"n": seconds}
    return ngettext("%(n)s minute", "%(n)s minutes", seconds // 60) % {"n": seconds // 60}
