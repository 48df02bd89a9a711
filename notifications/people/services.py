"""What a person decides on their own page: another alternate address or phone, proved by a code."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from accounts.models import MailDomain, Person
from accounts.services import Actor, Decision, Refused, decision
from notifications import addresses, codes
from notifications.bulk.people import FIELDS
from notifications.people.models import PersonCode
from notifications.people.sending import enqueue
from notifications.services.verification import too_soon, wrong

VERIFIED = {"email": "alternate_verified_at", "sms": "phone_verified_at"}
KEPT = timedelta(days=1)  # codes that count no more


def ask_code(person: Person, channel: str, text: str, ip: str | None, *, now: datetime | None = None) -> str:
    """Send a code to an address that the person typed in; nothing else changes. Raises Refused."""
    address = _cleaned(person, channel, text)
    with decision(person.account_id, Actor.person(person, ip), now=now) as made:
        _there(made, person)
        _not_too_often(made, person, channel)
        PersonCode.objects.filter(account=made.account, created_at__lt=made.now - KEPT).delete()
        code = PersonCode.objects.create(
            account=made.account, person=person, channel=channel, address=address, created_at=made.now
        )
        made.record("person.code_sent", subject=f"person:{person.pk}", channel=channel)
        transaction.on_commit(partial(enqueue, code.pk))
    return address


def confirm(person: Person, channel: str, text: str, ip: str | None, *, now: datetime | None = None) -> str:
    """Take the code that arrived: from now on the address is the person's, and verified. Raises Refused.

    A guess is counted in the decision that compares it, so that many at once are no more than one by one.
    """
    typed = codes.typed(text)
    if typed is None:
        raise Refused(_("The code has six digits. Type it as it stands in the message."))
    with decision(person.account_id, Actor.person(person, ip), now=now) as made:
        row = _there(made, person)
        sent = latest(person, made.now).get(channel)
        if sent is None:
            raise Refused(_("No code was sent within the last 30 minutes. Send a new one."))
        if sent.wrong_codes >= codes.GUESSES:
            raise Refused(_("There were too many wrong codes, so this one is void. Send a new one."))
        right = constant_time_compare(typed, sent.code)
        if right:
            before = getattr(row, FIELDS[channel])
            setattr(row, FIELDS[channel], sent.address)
            setattr(row, VERIFIED[channel], made.now)
            row.save(update_fields=[FIELDS[channel], VERIFIED[channel]])
            sent.used = True
            changed = before != sent.address
            made.record("person.verified", subject=f"person:{person.pk}", channel=channel, changed=changed)
        else:
            sent.wrong_codes += 1
            made.record("person.wrong_code", subject=f"person:{person.pk}", channel=channel)
        sent.save(update_fields=["wrong_codes", "used"])
    if not right:
        raise Refused(wrong(codes.GUESSES - sent.wrong_codes))
    return sent.address


def forget(person: Person, channel: str, ip: str | None) -> None:
    """The person is not reached there any more. Raises Refused when nothing was there."""
    with decision(person.account_id, Actor.person(person, ip)) as made:
        row = _there(made, person)
        if not getattr(row, FIELDS[channel]):
            raise Refused(_("This was removed already."))
        setattr(row, FIELDS[channel], "")
        setattr(row, VERIFIED[channel], None)
        row.save(update_fields=[FIELDS[channel], VERIFIED[channel]])
        made.record("person.removed", subject=f"person:{person.pk}", channel=channel)


def latest(person: Person, now: datetime) -> dict[str, PersonCode]:
    """By channel the newest code that still counts and was not used."""
    found = PersonCode.objects.filter(person=person.pk, created_at__gt=now - codes.CODE_LIFETIME)
    newest = {code.channel: code for code in found.order_by("pk")}
    return {channel: code for channel, code in newest.items() if not code.used}


def _there(made: Decision, person: Person) -> Person:
    row = Person.objects.filter(pk=person.pk, account=made.account).first()
    if row is None:
        raise Refused(_("You are not in the list of people any more."))
    return row


def _cleaned(person: Person, channel: str, text: str) -> str:
    try:
        address = addresses.cleaned(channel, text)
        if channel == "email":
            domains = MailDomain.objects.filter(account=person.account_id).values_list("name", flat=True)
            addresses.check_out_of_band(address, domains)
    except addresses.Unusable as unusable:
        raise Refused(str(unusable)) from unusable
    if len(address) > 254:
        raise Refused(_("This is not an e-mail address."))
    return address


def _not_too_often(made: Decision, person: Person, channel: str) -> None:
    lately = PersonCode.objects.filter(account=made.account, created_at__gt=made.now - timedelta(hours=1))
    asked = list(lately.values_list("person", "channel", "created_at"))
    same = [at for of, by, at in asked if (of, by) == (person.pk, channel)]
    # Many people check their data on the day of a notice: e-mail is limited for each of them only.
    everybody = [at for _of, by, at in asked if by == channel == "sms"]
    if early := codes.sent_too_often(same, everybody, made.now):
        raise Refused(too_soon(math.ceil((early.until - made.now).total_seconds())))
