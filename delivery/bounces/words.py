"""The part of a report that people read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from delivery.bounces.encoding import one_line
from delivery.bounces.fate import Fate

SHOWN = 100
"""So many recipients are named; the part for programs names all."""


def explanation(
    *,
    gateway: str,
    subject: str,
    arrived_at: datetime,
    fates: Sequence[Fate],
    delayed: bool,
    relayed: bool,
) -> str:
    """Plain text with LF line ends: what happened, to whom it was addressed, and what to do."""
    facts = {"gateway": gateway, "subject": subject, "at": _moment(arrived_at)}
    opening = _("This is the mail gateway %(gateway)s.") % facts
    if relayed:
        about = _("Your message of %(at)s was handed on to the mail server of:") % facts
    elif delayed:
        about = _("Your message of %(at)s has not been delivered yet to:") % facts
    else:
        about = _("Your message of %(at)s could not be delivered to:") % facts
    lines = [opening, "", about, ""]
    for fate in fates[:SHOWN]:
        lines += [
            f"  {one_line(fate.address, utf8=True)}",
            f"    {_reason(fate, delayed=delayed, relayed=relayed)}",
            "",
        ]
    if len(fates) > SHOWN:
        lines += [_("and %(number)d more recipients.") % {"number": len(fates) - SHOWN}, ""]
    if subject:
        lines += [_("Its subject: %(subject)s") % facts, ""]
    advice = (
        _("That server does not tell senders of deliveries. If it fails there, it will say so.")
        if relayed
        else _advice(fates, delayed=delayed)
    )
    return "\n".join([*lines, advice, ""])


def _reason(fate: Fate, *, delayed: bool, relayed: bool) -> str:
    said = one_line(fate.words, utf8=True)
    facts = {"remote": one_line(fate.remote, utf8=True), "words": said}
    if relayed:
        return _("Taken by %(remote)s.") % facts
    if fate.by_hand:
        return _("It was given up by the administrators of this mail gateway.")
    if delayed or fate.expired:
        return _("The last answer: %(words)s") % facts if said else _("The mail server did not answer.")
    if fate.remote:
        return _("The mail server %(remote)s said: %(words)s") % facts
    return said  # ours: nobody was asked


def _advice(fates: Sequence[Fate], *, delayed: bool) -> str:
    if delayed:
        until = max((fate.retry_until for fate in fates if fate.retry_until), default=None)
        advice = _("You need not do anything: delivery is tried again.")
        if until:
            advice += " " + _("If it has not succeeded by %(until)s, you will be told.") % {
                "until": _moment(until)
            }
        return advice
    if any(fate.expired for fate in fates):
        return _("It was tried for as long as mail waits here. You may send it again, or write another way.")
    if any(fate.by_hand for fate in fates):
        return _("You may send it again, or write another way.")
    return _("Please check the address before you send it again.")


def _moment(at: datetime) -> str:
    return date_format(at.astimezone(UTC), "j M Y H:i") + " UTC"
