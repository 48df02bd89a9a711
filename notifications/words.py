"""What the rules found, in sentences for the console."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext as _

from accounts.models import Contact
from notifications.models import ContactPoint
from notifications.readiness import Reach, Readiness, Trouble, Way


def would_be_reached(found: Readiness, points: Mapping[int, ContactPoint], contact: Contact) -> str:
    """Whether an alert would reach a contact now, and what should be put right, in one sentence."""
    if found.reach == Reach.OFF:
        return _("Is not alerted: switched off.")
    if found.reach == Reach.NO_POINT:
        return _("Would not be reached: there is no e-mail address, phone number or app.")
    broken = "; ".join(trouble(way, points[way.id]) for way in found.broken)
    if found.reach == Reach.UNUSABLE:
        return _("Would not be reached: %(why)s.") % {"why": broken.rstrip(".")}
    names = list(dict.fromkeys(_name(way.channel) for way in found.ways))
    joined = _(" and ") if contact.telling == Contact.Telling.AT_ONCE else _(", then ")
    sentence = _("Would be reached by %(ways)s") % {"ways": joined.join(names)}
    if found.reach == Reach.ONE_CHANNEL:
        sentence += _(" only: add a second way, for the case that this one fails")
    return f"{sentence}; {broken}." if broken else f"{sentence}."


def trouble(way: Way, point: ContactPoint) -> str:
    """Why this contact point cannot be used, as part of a sentence."""
    shown = {"address": point.shown_address}
    if way.trouble == Trouble.DISABLED:
        why = point.disabled_reason.strip().rstrip(".") or _("switched off")
        return _("%(address)s is disabled (%(why)s)") % {**shown, "why": why}
    if way.trouble == Trouble.UNVERIFIED:
        return _("%(address)s is not verified") % shown
    return _("nothing can leave by %(channel)s, for no provider is set") % {"channel": _name(way.channel)}


def _name(channel: str) -> str:
    """The channel within a sentence."""
    return {"email": _("e-mail"), "sms": _("SMS"), "app": _("app notification")}.get(channel, channel)
