"""Times on the portal: in the contact's zone, as words, with the instant in the markup."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from events import words

register = template.Library()


@register.simple_tag(takes_context=True)
def when(context: dict[str, Any], instant: datetime) -> SafeString:
    """Date and time in the contact's zone."""
    shown = words.moment(instant, context["zone"], context["now"])
    return format_html('<time datetime="{}">{}</time>', instant.isoformat(), shown)


@register.simple_tag(takes_context=True)
def at(context: dict[str, Any], instant: datetime) -> SafeString:
    """The time alone, with the date where it is not today."""
    shown = words.clock_time(instant, context["zone"], context["now"])
    return format_html('<time datetime="{}">{}</time>', instant.isoformat(), shown)


@register.simple_tag(takes_context=True)
def left(context: dict[str, Any], instant: datetime) -> str:
    """How long until then, to the nearest minute: four hours just activated are “4 h”."""
    return words.duration(instant - context["now"] + timedelta(seconds=30))


@register.simple_tag(takes_context=True)
def since(context: dict[str, Any], instant: datetime) -> str:
    """How long ago."""
    return words.duration(context["now"] - instant)


@register.simple_tag(takes_context=True)
def zone_name(context: dict[str, Any]) -> str:
    """The zone as people know it, such as “CET, Europe/Berlin”."""
    zone = context["zone"]
    short = context["now"].astimezone(zone).tzname() or ""
    return zone.key if short in ("", zone.key) or short[0] in "+-" else f"{short}, {zone.key}"


@register.filter
def hours_long(hours: int) -> str:
    """“1 hour”, “4 hours”."""
    return _("1 hour") if hours == 1 else _("%d hours") % hours
