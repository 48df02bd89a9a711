"""Every variable of a notification as words, in the language and zone that are active."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from notifications import placeholders
from notifications.models import Notification

Facts = dict[str, str]

REPLY_LENGTH = 240
TIMES = ("since", "closed", "at", "until")


def facts_of(notification: Notification, link: str, now: datetime) -> Facts:
    """Every variable of every kind; empty where the notification does not say it."""
    known = {"account": notification.account.name} | notification.context
    times = {name: _moment(known.get(name)) for name in (*TIMES, "oldest", "mode_until")}
    facts = dict.fromkeys(("monitor", "who", "route", "event"), "")
    facts |= {name: _one_line(value) for name, value in known.items() if isinstance(value, str | int)}
    facts |= {name: _short(moment, now) if (moment := times[name]) else "" for name in TIMES}
    facts["name"] = _one_line(notification.contact.name)
    facts["zone"] = timezone.get_current_timezone_name()
    facts["link"] = link
    facts["reply"] = _shortened(_one_line(known.get("reply") or ""))
    facts |= _seen(known.get("seen_by"), _moment(known.get("seen_at")), now)
    facts["again"] = _("Down again.") if known.get("again") else ""
    facts |= _waiting(_count(known.get("queued")), times["oldest"], now)
    facts |= _mode(times["mode_until"], now)
    facts |= _about(_count(known.get("number")), _count(known.get("left")))
    facts["todo"] = ", ".join(_(str(one)) for one in known.get("todo") or ())
    # Put in once, so that a name with braces in it stays a name.
    facts["sentence"] = placeholders.filled(_(str(known.get("what") or " ")).strip(), facts)
    return facts


def shorter(facts: Facts) -> Iterator[Facts]:
    """What an SMS goes without, step by step, until it fits; the rest is behind the link."""
    counted = {"waiting_short": facts["counted"]}
    unnamed = {"monitor": _("mail")}
    bare = {"mode_short": "", "left_short": "", "again": ""}
    for less in ({}, counted, unnamed, counted | unnamed, counted | unnamed | bare):
        yield facts | less | ({"seen": ""} if less else {})


def short_age(age: timedelta) -> str:
    """An age in one unit: 45 min, 3 h, 2 d."""
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return _("%d min") % minutes
    if minutes < 48 * 60:
        return _("%d h") % (minutes // 60)
    return _("%d d") % (minutes // (24 * 60))


def _waiting(queued: int, oldest: datetime | None, now: datetime) -> Facts:
    age = short_age(now - oldest) if oldest else ""
    counted = _("%d waiting.") % queued
    if not queued:
        sentence = _("No message is waiting.")
    elif age:
        sentence = ngettext(
            "%(number)d message is waiting, for %(age)s.",
            "%(number)d messages are waiting, the oldest for %(age)s.",
            queued,
        ) % {"number": queued, "age": age}
    else:
        sentence = ngettext("%d message is waiting.", "%d messages are waiting.", queued) % queued
    short = _("%(number)d waiting, oldest %(age)s.") % {"number": queued, "age": age}
    return {
        "queued": str(queued),
        "oldest": age,
        "waiting": sentence,
        "waiting_short": short if queued and age else counted,
        "counted": counted,
    }


def _mode(until: datetime | None, now: datetime) -> Facts:
    if until is None:
        return {"mode": _("Continuity mode is off."), "mode_short": _("Continuity off.")}
    shown = _short(until, now)
    # In an SMS the zone is named once.
    bare = shown.rpartition(" ")[0]
    return {
        "mode": _("Continuity mode is on until %s.") % shown,
        "mode_short": _("Continuity until %s.") % bare,
    }


def _seen(who: object, at: datetime | None, now: datetime) -> Facts:
    if not who or at is None:
        return {"seen": ""}
    return {"seen": _("%(who)s has seen it at %(at)s.") % {"who": _one_line(who), "at": _short(at, now)}}


def _about(number: int, left: int) -> Facts:
    refused = ngettext(
        "%d message was refused for now by the mail server and is tried again.",
        "%d messages were refused for now by the mail server and are tried again.",
        left,
    )
    return {
        "number": str(number),
        "messages": ngettext("%d message", "%d messages", number) % number,
        "steps": ngettext("%d item is open", "%d items are open", number) % number,
        "left": refused % left if left else _("Nothing of it is left here. New mail goes straight through."),
        "left_short": _("%d tried again later.") % left if left else "",
    }


def _moment(value: object) -> datetime | None:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and timezone.is_aware(moment) else None


def _short(moment: datetime, now: datetime) -> str:
    """The time of day with its zone, and the day when it is not today's."""
    local = timezone.localtime(moment)
    clock = date_format(local, "H:i T")
    if local.date() == timezone.localtime(now).date():
        return clock
    # Translators: a day without its year, in Django's date format characters.
    day = date_format(local, pgettext("date format", "j M"))
    return f"{day} {clock}"


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())


def _shortened(words: str) -> str:
    return words if len(words) <= REPLY_LENGTH else f"{words[: REPLY_LENGTH - 1]}…"
