"""What a notification says: a template per kind and channel, the contact's zone, one SMS segment."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.template import Context, TemplateDoesNotExist
from django.template.loader import get_template
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from notifications import gsm7
from notifications.models import ContactPoint, Notification
from notifications.transports import Rendered

logger = logging.getLogger(__name__)

TIMES = ("since", "oldest", "mode_until", "closed", "at", "until")
REPLY_LENGTH = 240
# A shorter piece of the server's words says nothing.
LEAST_REPLY = 16
# What an SMS goes without, step by step, until it fits; the rest is behind the link.
LESS: tuple[dict[str, str], ...] = (
    {},
    {"oldest_age": ""},
    {"monitor": ""},
    {"monitor": "", "oldest_age": ""},
    {"monitor": "", "oldest_age": "", "brief": "yes"},
)


class Unwritable(Exception):  # noqa: N818
    """There is no text for this notification; the message says why."""


def render(
    notification: Notification, point: ContactPoint, link: str, now: datetime, *, repeat: bool = False
) -> Rendered:
    """The message for one contact point at `now`. Raises Unwritable."""
    zone = _zone(notification.contact.time_zone)
    try:
        with timezone.override(zone):
            facts = _facts(notification, link, now) | {"repeat": repeat}
            subject = " ".join(_text(notification.kind, "subject.txt", facts).split())
            if point.channel == ContactPoint.Channel.SMS:
                return _rendered(notification, point, subject, _sms(notification.kind, facts))
            text = _text(notification.kind, "txt", facts).strip() + "\n"
            html = _text(notification.kind, "html", facts) if point.channel == "email" else ""
            return _rendered(notification, point, subject, text, html)
    except TemplateDoesNotExist as error:
        raise Unwritable(_("There is no template %s.") % error) from error
    except Exception as error:
        logger.exception("text of notification %s", notification.pk)
        raise Unwritable(_("Its text could not be written: %s") % type(error).__name__) from error


def addressed(message: Rendered, message_id: str) -> Rendered:
    """The message with the id of its attempt."""
    return replace(message, message_id=message_id)


def without_secrets(words: str, link: str, point: ContactPoint) -> str:
    """A provider's words as they are stored: without the manage link and an app's URL, and not too long."""
    secrets = [link, link.rstrip("/").rpartition("/")[2]]
    if point.channel == ContactPoint.Channel.APP:
        secrets.append(point.address)
    for secret in secrets:
        if len(secret) >= 16:
            words = words.replace(secret, "[…]")
    return " ".join(words.replace("\0", "").split())[:500]


def short_age(age: timedelta) -> str:
    """An age in one unit: 45 min, 3 h, 2 d."""
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return _("%d min") % minutes
    if minutes < 48 * 60:
        return _("%d h") % (minutes // 60)
    return _("%d d") % (minutes // (24 * 60))


def _rendered(
    notification: Notification, point: ContactPoint, subject: str, text: str, html: str = ""
) -> Rendered:
    return Rendered(notification.account_id, "", point.address, point.channel, subject, text, html)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _facts(notification: Notification, link: str, now: datetime) -> dict[str, Any]:
    """The context with its times parsed and told in the current zone."""
    facts: dict[str, Any] = {"account": notification.account.name} | notification.context
    for name in TIMES:
        value = facts.get(name)
        moment = parse_datetime(value) if isinstance(value, str) else None
        facts[name] = moment
        facts[f"{name}_short"] = _short(moment, now) if moment else ""
        # In an SMS the zone is named once.
        facts[f"{name}_bare"] = facts[f"{name}_short"].rpartition(" ")[0]
    facts["oldest_age"] = short_age(now - facts["oldest"]) if facts["oldest"] else ""
    facts["reply"] = _shortened(str(facts.get("reply") or ""))
    facts["sentence"] = _sentence(facts)
    facts["name"] = notification.contact.name
    facts["zone"] = timezone.get_current_timezone_name()
    return facts | {"link": link, "now": now}


def _sentence(facts: dict[str, Any]) -> str:
    """What somebody did, with its times told in the reader's zone."""
    sentence = str(facts.get("what") or "")
    for name in ("at", "until"):
        sentence = sentence.replace(f"{{{name}}}", facts[f"{name}_short"])
    return sentence.replace("{time}", facts["at_short"])


def _short(moment: datetime, now: datetime) -> str:
    """The time of day with its zone, and the day when it is not today's."""
    local = timezone.localtime(moment)
    same_day = local.date() == timezone.localtime(now).date()
    return date_format(local, "H:i T" if same_day else "j M H:i T")


def _shortened(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= REPLY_LENGTH else f"{words[: REPLY_LENGTH - 1]}…"


def _text(kind: str, part: str, facts: dict[str, Any]) -> str:
    template = get_template(f"notifications/{kind}.{part}")
    # The engine's own template: the wrapper would escape plain text as HTML.
    rendered: str = template.template.render(Context(facts, autoescape=part == "html"))  # type: ignore[attr-defined]
    return rendered


def _sms(kind: str, facts: dict[str, Any]) -> str:
    """An SMS: one GSM-7 segment if the account's name allows, with the server's words if they fit."""

    def written(**changed: str) -> str:
        text = _text(kind, "sms.txt", facts | changed)
        return " ".join(gsm7.likened(text).split())

    without: dict[str, str] = {}
    for less in LESS:
        without = less | {"reply": ""}
        if gsm7.fits(written(**without)):
            break
    else:
        return written(**without)
    marker = "x" * LEAST_REPLY
    taken = gsm7.length(written(**without | {"reply": marker}))
    room = gsm7.SEGMENT - (taken or gsm7.SEGMENT) + LEAST_REPLY
    words = gsm7.clipped(" ".join(gsm7.only(facts["reply"]).split()), room)
    if len(words) < LEAST_REPLY:
        return written(**without)
    return written(**without | {"reply": words})
