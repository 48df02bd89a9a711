"""Instants and durations in words, the same in refusals, confirmations and on the portal."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext, pgettext


def moment(instant: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Date and time in the zone, such as “Mon 23 Nov, 15:04”; the year where it is not this one."""
    local = instant.astimezone(zone)
    if local.year == now.astimezone(zone).year:
        return formats.date_format(local, pgettext("date format", "D j M, H:i"))
    return formats.date_format(local, pgettext("date format", "D j M Y, H:i"))


def clock_time(instant: datetime, zone: ZoneInfo, now: datetime) -> str:
    """The time alone where it is today in the zone, else with the date."""
    local = instant.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return formats.date_format(local, "H:i")
    return moment(instant, zone, now)


def duration(length: timedelta) -> str:
    """In days and hours, hours and minutes or minutes, rounded down; never less than “less than a minute”."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 1:
        return _("less than a minute")
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = []
    if days:
        parts.append(ngettext("%d day", "%d days", days) % days)
    if hours:
        parts.append(_("%d h") % hours)
    if minutes and not days:
        parts.append(_("%d min") % minutes)
    return " ".join(parts[:2])


TODO = {
    "definitions": gettext_noop("end the event definitions that hold mail clients"),
    "deliveries": gettext_noop("resume inbound deliveries"),
    "route": gettext_noop("test the delivery route"),
    "queue": gettext_noop("see the queue through"),
    "users": gettext_noop("tell the users that it is over"),
    "calls": gettext_noop("settle the support calls"),
}
"""The items of a checklist in a reminder; translated for each reader while it is written."""
