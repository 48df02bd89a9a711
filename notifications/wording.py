"""What an edited text must keep to, so that no alert fails or misleads for it."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from notifications import codes, gsm7, placeholders
from notifications.kinds import KINDS
from notifications.models import MessageTemplate

Part = MessageTemplate.Part

LIMITS = {Part.SUBJECT: 200, Part.TEXT: 10_000}
# Each is paid for, for each contact and each hour.
SMS_SEGMENTS = 4


def problems(kind: str, part: Part | str, body: str) -> list[str]:
    """Why a text cannot be used, as sentences for whoever edits it; none when it can."""
    part = Part(part)
    if kind not in KINDS:
        return [_("There is no message of this kind.")]
    about = KINDS[kind]
    found = []
    if not body.strip():
        found.append(_("It is empty."))
    unknown = placeholders.unknown(body, set(about.variables))
    found += [_("%(name)s is not a variable of this message.") % {"name": name} for name in unknown]
    if about.needs_link and part != Part.SUBJECT and "link" not in placeholders.names(body):
        found.append(_("The link is missing: put {link} where it is to stand."))
    if kind == codes.CODE and part != Part.SUBJECT and "code" not in placeholders.names(body):
        found.append(_("The code is missing: put {code} where it is to stand."))
    if part == Part.SUBJECT and ("\n" in body.strip() or "\r" in body.strip()):
        found.append(_("A subject is one line."))
    if any(ord(one) < 32 and one not in "\r\n\t" for one in body):
        found.append(_("It has characters that cannot be sent."))
    return found + _too_long(part, body)


def _too_long(part: Part, body: str) -> list[str]:
    if part != Part.SMS:
        sentence = _("It has %(length)d characters; at most %(limit)d can be sent.")
        about = {"length": len(body), "limit": LIMITS[part]}
        return [sentence % about] if len(body) > LIMITS[part] else []
    # A variable counts as its name: what facts add differs from one alert to the next.
    count = gsm7.counted(gsm7.likened(placeholders.NAME.sub(r"\1", body)))
    if count.segments <= SMS_SEGMENTS:
        return []
    sentence = _("It has %(length)d characters, which is an SMS of %(segments)d segments; at most %(limit)d.")
    return [sentence % {"length": len(body), "segments": count.segments, "limit": SMS_SEGMENTS}]


def cost(segments: int, contacts: int) -> str:
    """What one such SMS to each of `contacts` takes, in words."""
    if not contacts:
        return _("No contact with this language is reached by SMS so far.")
    sentence = ngettext(
        "%(contacts)d contact with this language gets it by SMS; segments paid for each time: %(total)d.",
        "%(contacts)d contacts with this language get it by SMS; segments paid for each time: %(total)d.",
        contacts,
    )
    return sentence % {"contacts": contacts, "total": segments * contacts}


def told(count: gsm7.Count) -> str:
    """How many segments an SMS takes and why, in words."""
    one, several = count.limits
    segments = ngettext("%d segment", "%d segments", count.segments) % count.segments
    if count.segments < 2:
        taken = _("%(units)d of %(limit)d characters") % {"units": count.units, "limit": one}
    else:
        taken = _("%(units)d characters, %(limit)d in each") % {"units": count.units, "limit": several}
    return f"{segments}: {taken}"
