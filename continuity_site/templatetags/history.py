"""From what a decision was about to its page."""

from __future__ import annotations

import re

from django import template
from django.urls import reverse

register = template.Library()
PAGES = {
    "event": "event",
    "message": "message",
    "monitor": "monitor",
    "notice": "notice",
    "contact": "contact",
}


@register.filter
def subject_address(subject: str | None) -> str:
    """The page of a subject such as `event:12`; empty where it has none."""
    match = re.fullmatch(r"([a-z_]+):([0-9]{1,18})", subject or "")
    if match is None or match[1] not in PAGES:
        return ""
    return reverse(match[1], args=[int(match[2])])
