"""What a notification says: its kind's texts, edited or shipped, in the contact's language and zone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.html import escape
from django.utils.translation import gettext as _

from notifications import codes, gsm7, placeholders
from notifications.facts import Facts, facts_of, shorter
from notifications.models import ContactPoint, MessageTemplate, Notification
from notifications.placeholders import Paragraph
from notifications.transports import Rendered
from notifications.wording import problems

logger = logging.getLogger(__name__)

Part = MessageTemplate.Part
_FILES = {Part.SUBJECT: "subject.txt", Part.TEXT: "txt", Part.SMS: "sms.txt"}
# A shorter piece of the server's words says nothing.
LEAST_REPLY = 16


class Unwritable(Exception):  # noqa: N818
    """There is no text for this notification; the message says why."""


def render(
    notification: Notification,
    point: ContactPoint,
    link: str,
    now: datetime,
    *,
    repeat: bool = False,
    edited: Mapping[str, str] | None = None,
) -> Rendered:
    """The message for one contact point at `now`. `edited` are the account's own texts, by part.

    Raises Unwritable.
    """
    try:
        with texts_of(notification, link, now, repeat=repeat, edited=edited) as texts:
            if notification.kind == codes.CODE:
                texts.facts["code"] = notification.code_for(point)
            message = Rendered(notification.account_id, "", point.address, point.channel, texts.subject(), "")
            if point.channel == ContactPoint.Channel.SMS:
                return replace(message, text=texts.sms())
            html = texts.html() if point.channel == ContactPoint.Channel.EMAIL else ""
            return replace(message, text=texts.text(), html=html)
    except TemplateDoesNotExist as error:
        raise Unwritable(_("There is no template %s.") % error) from error
    except Exception as error:
        logger.exception("text of notification %s", notification.pk)
        if edited:  # an alert is never lost for a text
            return render(notification, point, link, now, repeat=repeat)
        raise Unwritable(_("Its text could not be written: %s") % type(error).__name__) from error


@dataclass(frozen=True)
class Texts:
    """The texts of one notification, in the language that is active."""

    kind: str
    facts: Facts
    edited: Mapping[str, str]
    repeat: bool = False

    def source(self, part: Part) -> str:
        """The edited text; the shipped one where there is none, or where it cannot be right."""
        own = self.edited.get(part)
        if own is not None:
            wrong = problems(self.kind, part, own)
            if not wrong:
                return own
            # An alert is never lost for a text.
            logger.warning("the edited %s of %s is not used: %s", part, self.kind, wrong[0])
        return shipped(self.kind, part)

    def subject(self) -> str:
        """One line, whatever is in it."""
        mark = _("Repeat:") if self.repeat else ""
        return " ".join(f"{mark} {placeholders.filled(self.source(Part.SUBJECT), self.facts)}".split())

    def text(self) -> str:
        """The plain text of a mail, and the whole of an app notification."""
        mark = f"({self._repeated()})\n\n" if self.repeat else ""
        return f"{mark}{placeholders.filled(self.source(Part.TEXT), self.facts)}\n"

    def paragraphs(self) -> list[Paragraph]:
        """The same text as the parts of an HTML mail, escaped."""
        mark = [Paragraph(f"<em>{escape(self._repeated())}</em>")] if self.repeat else []
        return mark + placeholders.paragraphs(self.source(Part.TEXT), self.facts)

    def html(self) -> str:
        """The HTML of a mail."""
        return render_to_string("notifications/_mail.html", {"paragraphs": self.paragraphs()})

    def sms(self) -> str:
        """An SMS: one GSM-7 segment where that is possible."""
        mark = _("(Repeat)") if self.repeat else ""
        return _fitted(f"{mark} {self.source(Part.SMS)}", self.facts)

    def _repeated(self) -> str:
        return _("Repeat: the first one may not have arrived.")


@contextmanager
def texts_of(
    notification: Notification,
    link: str,
    now: datetime,
    *,
    repeat: bool = False,
    edited: Mapping[str, str] | None = None,
) -> Iterator[Texts]:
    """The texts of a notification, with the contact's language and zone active."""
    contact = notification.contact
    with translation.override(contact.language), timezone.override(_zone(contact.time_zone)):
        yield Texts(notification.kind, facts_of(notification, link, now), edited or {}, repeat)


def shipped(kind: str, part: Part) -> str:
    """The text that comes with Continuity, in the language that is active. Raises TemplateDoesNotExist."""
    return tidied(render_to_string(f"notifications/{kind}.{_FILES[part]}"))


def tidied(body: str) -> str:
    """A text in its one form: lines end with a newline, without blanks at their ends or around the whole."""
    return "\n".join(line.rstrip() for line in body.splitlines()).strip()


def edited_texts(account_id: int, kind: str, language: str) -> dict[str, str]:
    """The account's own texts of a kind in a language, by part."""
    own = MessageTemplate.objects.filter(account=account_id, kind=kind, language=language)
    return dict(own.values_list("part", "body"))


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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _fitted(source: str, facts: Facts) -> str:
    """As many facts as the fewest segments take; the server's words as far as one GSM-7 segment has room."""

    def written(told: Facts, reply: str = "") -> str:
        text = placeholders.filled(" ".join(source.split()), told | {"reply": reply})
        return " ".join(gsm7.likened(text).split())

    counts = [(gsm7.counted(written(told)), told) for told in shorter(facts)]
    fewest = min(count.segments for count, _told in counts)
    told = next(told for count, told in counts if count.segments == fewest)
    taken = gsm7.length(written(told, "x" * LEAST_REPLY))
    if taken is None or fewest > 1:
        return written(told)
    words = " ".join(gsm7.only(facts["reply"]).split())
    words = gsm7.clipped(words, gsm7.SEGMENT - taken + LEAST_REPLY)
    return written(told, words if len(words) >= LEAST_REPLY else "")
