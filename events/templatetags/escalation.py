"""Who is told, as a part of the pages of monitors, which lie below events and know nothing of it."""

from __future__ import annotations

from typing import Any

from django import template

from events import chain
from events.services import escalation
from monitoring.models import Monitor

register = template.Library()


@register.inclusion_tag("events/_chain.html", takes_context=True)
def who_is_told(context: dict[str, Any], monitor: Monitor) -> dict[str, Any]:
    """The steps of a monitor, with whether each contact would be reached."""
    return {
        "monitor": monitor,
        "rungs": chain.chain(monitor),
        "wait": escalation.step_wait(monitor.account_id),
        "may_write": context.get("may_write"),
    }
