"""How texts would look: written as when they are sent, with sample facts and without a row anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from accounts.models import Account, Contact, User
from notifications import gsm7, texts, wording
from notifications.kinds import KINDS, VARIABLES, sample
from notifications.models import ContactPoint, Notification
from notifications.placeholders import Paragraph

# As long as a real one.
TOKEN = "1z.AbCdEfGhIjKlMnOpQrStUv"  # noqa: S105


@dataclass(frozen=True)
class Preview:
    """What would be sent. `problems` are by part; such a part cannot be saved, and is not shown."""

    subject: str
    text: str
    html: str
    paragraphs: list[Paragraph]
    sms: str
    count: gsm7.Count
    segments: str
    cost: str
    problems: dict[str, list[str]]


@dataclass(frozen=True)
class Variable:
    """A line of the list beside the editor."""

    name: str
    about: str
    example: str


def preview(
    account: Account, reader: User, kind: str, language: str, bodies: Mapping[str, str], now: datetime
) -> Preview:
    """The texts with `bodies` (by part) in the place of shipped ones, as `reader` would get them."""
    bodies = {part: texts.tidied(body) for part, body in bodies.items()}
    problems = {part: found for part, body in bodies.items() if (found := wording.problems(kind, part, body))}
    right = {part: body for part, body in bodies.items() if part not in problems}
    with texts.texts_of(_sample(account, reader, kind, language, now), _link(), now, edited=right) as made:
        sms = made.sms()
        shown = (made.subject(), made.text(), made.html(), made.paragraphs())
    count = gsm7.counted(sms)
    cost = wording.cost(count.segments, _by_sms(account, language))
    return Preview(*shown, sms, count, wording.told(count), cost, problems)


def variables(account: Account, reader: User, kind: str, language: str, now: datetime) -> list[Variable]:
    """What the texts of a kind may use, with what it would say."""
    notification = _sample(account, reader, kind, language, now)
    notification.context["again"] = True
    with texts.texts_of(notification, _link(), now) as made:
        return [Variable(name, str(VARIABLES[name]), made.facts[name]) for name in KINDS[kind].variables]


def _sample(account: Account, reader: User, kind: str, language: str, now: datetime) -> Notification:
    contact = Contact(
        account=account, name=reader.get_full_name() or reader.username, time_zone=reader.time_zone
    )
    contact.language = language
    return Notification(account=account, contact=contact, kind=kind, context=sample(now))


def _by_sms(account: Account, language: str) -> int:
    """How many contacts who are alerted in this language have a usable phone number."""
    contacts = Contact.objects.filter(account=account, active=True, language=language)
    numbers = ContactPoint.objects.usable().filter(channel=ContactPoint.Channel.SMS, contact__in=contacts)
    return numbers.order_by().values("contact").distinct().count()


def _link() -> str:
    return f"{settings.BASE_URL}/m/{TOKEN}/"
