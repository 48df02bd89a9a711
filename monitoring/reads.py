"""Read-only questions about monitors, for the dashboard and the monitor's page. All datetimes are UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from monitoring.models import Monitor, Outage, Window
from monitoring.rules import FLAPPING_OPENINGS, FLAPPING_WITHIN, Source

DOTS = 30


@dataclass(frozen=True)
class MonitorState:
    """A monitor as pages show it. `windows` are the latest ones, oldest first."""

    monitor: Monitor
    windows: Sequence[Window]
    outage: Outage | None
    sentence: str
    reply: str

    @property
    def counter(self) -> int:
        return self.monitor.counter

    @property
    def threshold(self) -> int:
        return self.monitor.threshold

    @property
    def last(self) -> Window | None:
        return self.windows[-1] if self.windows else None


def monitor_states(account_id: int, now: datetime) -> list[MonitorState]:
    """All monitors of the account with their last 30 windows at most, in three queries."""
    monitors = list(
        Monitor.objects.filter(account_id=account_id).select_related("route").order_by("description")
    )
    return _states(monitors, now, DOTS)


def evidence_sentence(window: Window | None) -> str:
    """What a window saw, in a plain sentence; the server's words are in `window.reply`."""
    if window is None:
        return _("Nothing judged yet.")
    if window.verdict == Window.Verdict.UNKNOWN:
        ours = window.source == Source.LOCAL
        return _("Not known: a fault of our own.") if ours else _("Not known: monitoring did not run.")
    if window.verdict == Window.Verdict.QUIET:
        return _("Nothing to judge.") if window.step else _("Nothing to judge yet.")
    if window.verdict == Window.Verdict.FAILURE:
        if window.source == Source.PROBE:
            return _("The probe of the mail server failed.")
        if window.source == Source.ROUND_TRIP:
            return _("The round-trip probe failed: mail does not leave.")
        return _("Deliveries to the mail server failed.")
    if window.source == Source.ROUND_TRIP:
        return _("The round-trip probe came back in time.")
    if window.source == Source.PROBE:
        if window.step == 0:
            return _("The probe was answered, but mail still waits: only a delivery counts.")
        return _("No mail in this window; the mail server answered the probe.")
    return _("Mail was delivered.")


def _states(monitors: Sequence[Monitor], now: datetime, number: int) -> list[MonitorState]:
    if not monitors:
        return []
    longest = max(monitor.window_seconds for monitor in monitors)
    since = now - timedelta(seconds=longest * (number + 1))
    windows: dict[int, list[Window]] = {}
    for window in Window.objects.filter(monitor__in=monitors, end__gt=since).order_by("end"):
        windows.setdefault(window.monitor_id, []).append(window)
    outages = {
        outage.monitor_id: outage for outage in Outage.objects.filter(monitor__in=monitors, closed_at=None)
    }
    return [_state(monitor, windows.get(monitor.pk, [])[-number:], outages) for monitor in monitors]


def _state(monitor: Monitor, windows: Sequence[Window], outages: dict[int, Outage]) -> MonitorState:
    last = windows[-1] if windows else None
    replies = (window.reply for window in reversed(windows) if window.verdict == Window.Verdict.FAILURE)
    return MonitorState(
        monitor=monitor,
        windows=windows,
        outage=outages.get(monitor.pk),
        sentence=evidence_sentence(last),
        reply=next(replies, ""),
    )


# A local fault is news so long after the window that it spoiled.
LOCAL_FAULT_LASTS = timedelta(minutes=10)


def local_faults(now: datetime) -> dict[int, list[Window]]:
    """The latest windows that a fault of our own spoiled, one for each monitor, by account; one query."""
    spoiled = Window.objects.filter(source=Source.LOCAL.value, end__gt=now - LOCAL_FAULT_LASTS, end__lte=now)
    latest: dict[int, Window] = {}
    for window in spoiled.select_related("monitor").order_by("end"):
        latest[window.monitor_id] = window
    found: dict[int, list[Window]] = {}
    for window in latest.values():
        found.setdefault(window.monitor.account_id, []).append(window)
    return found


def flapping(now: datetime) -> QuerySet[Outage]:
    """The outages of monitors that began to flap within the last day, the earliest first."""
    since = now - FLAPPING_WITHIN
    return Outage.objects.filter(flapping_since__gt=since).select_related("monitor").order_by("opened_at")


def openings_in_a_day(monitor_id: int, now: datetime) -> int:
    """How often the monitor's outages opened within the day before `now`, reopenings included."""
    lately = Outage.objects.filter(monitor=monitor_id).order_by("-opened_at")[: FLAPPING_OPENINGS * 10]
    openings = [datetime.fromisoformat(text) for outage in lately for text in outage.openings]
    return sum(now - FLAPPING_WITHIN < one <= now for one in openings)


# A window may be judged so late: a probe of its own may have delayed it by a minute.
OVERDUE_WINDOWS, OVERDUE_GRACE = 3, timedelta(seconds=15)


def is_overdue(now: datetime) -> bool:
    """Whether some monitor of the installation was not judged for three of its windows."""
    watching = Monitor.objects.watching()
    return any(
        now - (since or made) > OVERDUE_WINDOWS * timedelta(seconds=seconds) + OVERDUE_GRACE
        for since, made, seconds in watching.values_list(
            "judged_until", "account__created_at", "window_seconds"
        )
    )


def is_failing(account_id: int) -> bool:
    """Whether an outage of the account still shows failures: its monitor's counter has not come down yet."""
    open_ones = Outage.objects.filter(account_id=account_id, closed_at=None)
    return open_ones.filter(monitor__counter__gte=F("monitor__threshold")).exists()
