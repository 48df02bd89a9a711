"""What the portal can do, and how it says that it was done. A link acts as its contact, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from accounts.models import AuditEntry
from accounts.services import Actor, AlreadyDone, Refused
from delivery import services as delivery
from events import reads, rules, services
from events.models import ContinuityEvent, ManageLink
from events.words import moment

_NONCE = re.compile(r"[0-9A-Za-z_-]{16,64}", re.ASCII)
CONFIRMED_FOR = timedelta(minutes=15)
"""So long a page may say “this was done”; later it would be taken for the present state."""


@dataclass(frozen=True)
class Confirmation:
    title: str
    detail: str


@dataclass(frozen=True)
class _Request:
    link: ManageLink
    actor: Actor
    form: Mapping[str, str]
    key: str
    now: datetime

    @property
    def hours(self) -> int:
        value = self.form.get("hours", "")
        hours = int(value) if re.fullmatch(r"[0-9]{1,3}", value, re.ASCII) else 0
        if hours not in rules.HOURS:
            raise Refused(_("Choose 1, 2, 4, 8 or 24 hours."))
        return hours


def perform(
    link: ManageLink, action: str, form: Mapping[str, str], ip_address: str | None, now: datetime
) -> int:
    """Do what the form asks; returns the number of the audit row that says so.

    The same form sent again is done once, and gives the row of the first time. Raises Refused, and
    KeyError for an action that does not exist.
    """
    do = _ACTIONS[action]
    key = _request_key(link, action, form)
    try:
        do(_Request(link, Actor.contact(link.contact, ip_address), form, key, now))
    except AlreadyDone as done:
        return done.entry.number
    return AuditEntry.objects.get(account_id=link.account_id, request_key=key).number


def _request_key(link: ManageLink, action: str, form: Mapping[str, str]) -> str:
    """Names one press of one button on one page, so that a second press of another button is another."""
    nonce = form.get("nonce", "")
    if not _NONCE.fullmatch(nonce):
        raise Refused(_("The form did not arrive completely. Please press the button again."))
    parts = (str(link.pk), nonce, action, form.get("hours", ""), form.get("whom", ""))
    return "portal:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:48]


def _seen(asked: _Request) -> None:
    services.acknowledge(asked.link.account_id, asked.actor, request_key=asked.key)


def _activate(asked: _Request) -> None:
    services.activate(
        asked.link.account_id,
        asked.actor,
        asked.hours,
        began=ContinuityEvent.Began.LINK,
        request_key=asked.key,
    )


def _extend(asked: _Request) -> None:
    services.extend(asked.link.account_id, asked.actor, asked.hours, request_key=asked.key)


def _stop(asked: _Request) -> None:
    services.stop(asked.link.account_id, asked.actor, request_key=asked.key)


def _suspend(asked: _Request) -> None:
    whom = asked.form.get("whom")
    if whom not in ("me", "everyone"):
        raise Refused(_("Choose whether to suspend notifications for you or for everyone."))
    services.suspend(
        asked.link.account_id,
        asked.actor,
        asked.hours,
        contact=asked.link.contact if whom == "me" else None,
        request_key=asked.key,
    )


def _pause(asked: _Request) -> None:
    delivery.pause(asked.link.account_id, asked.actor, request_key=asked.key)


def _resume(asked: _Request) -> None:
    delivery.resume(asked.link.account_id, asked.actor, request_key=asked.key)


_ACTIONS: dict[str, Callable[[_Request], None]] = {
    "seen": _seen,
    "activate": _activate,
    "extend": _extend,
    "stop": _stop,
    "suspend": _suspend,
    "pause": _pause,
    "resume": _resume,
}
ACTIONS = frozenset(_ACTIONS)


def confirmation(link: ManageLink, number: str, now: datetime) -> Confirmation | None:
    """What to say after a redirect, taken from the audit: the address cannot make the page say anything else.

    None when the row is not of this link's contact, or was written before the link or too long ago.
    """
    if not re.fullmatch(r"[0-9]{1,18}", number, re.ASCII):
        return None
    entry = reads.done_by(link, int(number))
    if entry is None or entry.at < max(link.created_at, now - CONFIRMED_FOR):
        return None
    return _said(entry, ZoneInfo(link.contact.time_zone), now)


def _said(entry: AuditEntry, zone: ZoneInfo, now: datetime) -> Confirmation | None:
    instant = parse_datetime(entry.details.get("until") or "")
    until = moment(instant, zone, now) if instant else ""
    return {
        "outage.acknowledged": Confirmation(
            _("Noted that you have seen this"),
            _("Nobody else is woken for this outage. You are reminded of it until you suspend that."),
        ),
        "event.activated": Confirmation(
            _("Continuity mode activated"),
            _("It ends on %(until)s if it is not extended.") % {"until": until},
        ),
        "event.extended": Confirmation(
            _("Continuity mode extended"),
            _("It now ends on %(until)s if it is not extended again.") % {"until": until},
        ),
        "event.stopped": Confirmation(
            _("Continuity mode was ended."), _("The flow of mail is not changed by this.")
        ),
        "notifications.suspended": _suspended(entry, until),
        "pause.started": Confirmation(
            _("Inbound deliveries paused"),
            _("Mail is accepted and kept here without limit until you resume."),
        ),
        "pause.ended": Confirmation(
            _("Inbound deliveries resumed"),
            _("Mail that waits is delivered gradually, oldest first."),
        ),
    }.get(entry.action)


def _suspended(entry: AuditEntry, until: str) -> Confirmation:
    text = (
        _("You are not alerted about this outage until they restart on %(until)s.")
        if entry.details.get("contact")
        else _("Nobody is alerted about this outage until they restart on %(until)s.")
    )
    return Confirmation(_("Notifications suspended"), text % {"until": until})
