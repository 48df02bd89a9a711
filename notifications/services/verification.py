"""Proving that a contact point reaches its contact: a code to type in, and a test to look at."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import MailDomain
from accounts.services import Actor, Decision, Refused, decision
from notifications import addresses, codes
from notifications.models import ContactPoint, Notification
from notifications.services.outbox import notify


def send_code(
    account_id: int,
    actor: Actor,
    point_id: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> Notification:
    """Send a code to a contact point that is not verified, or was disabled. Raises Refused, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        point = _point(made, point_id)
        if point.verified_at and not point.disabled_at:
            raise Refused(_("This contact point is verified already. Send a test instead."))
        if not made.account.is_demo:
            _refuse_own_domain(point)
        sent = _send(made, point, codes.CODE, codes.CODE_WORTH_SENDING)
        ContactPoint.objects.filter(pk=point.pk).update(wrong_codes=0)
        made.record("contact_point.code_sent", subject=f"contact_point:{point.pk}", contact=point.contact_id)
    return sent


def send_test(
    account_id: int,
    actor: Actor,
    point_id: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> Notification:
    """Send a real message through a usable contact point. Raises Refused, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        point = _point(made, point_id)
        if point.disabled_at:
            raise Refused(_("This contact point is disabled. Verify it again first."))
        if not point.verified_at:
            raise Refused(_("This contact point is not verified. Send a code instead: it is a test as well."))
        sent = _send(made, point, codes.TEST, codes.TEST_WORTH_SENDING)
        made.record("contact_point.tested", subject=f"contact_point:{point.pk}", contact=point.contact_id)
    return sent


def verify(
    account_id: int, actor: Actor, point_id: int, text: str, *, now: datetime | None = None
) -> ContactPoint:
    """Take the code that arrived at the contact point: from now on it counts. Raises Refused.

    A guess is counted in the decision that compares it, so that many at once are no more than one by one.
    """
    code = codes.typed(text)
    if code is None:
        raise Refused(_("The code has six digits. Type it as it stands in the message."))
    with decision(account_id, actor, now=now) as made:
        point = _point(made, point_id)
        if point.verified_at and not point.disabled_at:
            raise Refused(_("This contact point is verified already."))
        sent = Notification.objects.filter(
            point=point, kind=codes.CODE, created_at__gt=made.now - codes.CODE_LIFETIME
        ).order_by("-pk").first()  # fmt: skip
        if sent is None:
            raise Refused(_("No code was sent within the last 30 minutes. Send a new one."))
        if point.wrong_codes >= codes.GUESSES:
            raise Refused(_("There were too many wrong codes, so this one is void. Send a new one."))
        right = constant_time_compare(code, sent.code_for(point))
        if right:
            point.begin_anew()
            point.verified_at = made.now
        else:
            point.wrong_codes += 1
        point.save(update_fields=["verified_at", "disabled_at", "disabled_reason", "wrong_codes"])
        action = "contact_point.verified" if right else "contact_point.wrong_code"
        made.record(action, subject=f"contact_point:{point.pk}", contact=point.contact_id)
    if not right:
        raise Refused(wrong(codes.GUESSES - point.wrong_codes))
    return point


def _point(made: Decision, point_id: int) -> ContactPoint:
    point = ContactPoint.objects.select_related("contact").filter(
        pk=point_id, contact__account=made.account
    ).first()  # fmt: skip
    if point is None:
        raise Refused(_("This contact point was removed."))
    if not point.contact.active:
        raise Refused(
            _("%(name)s is not alerted. Switch the contact on first.") % {"name": point.contact.name}
        )
    return point


def _refuse_own_domain(point: ContactPoint) -> None:
    if point.channel != ContactPoint.Channel.EMAIL:
        return
    domains = MailDomain.objects.filter(account=point.contact.account_id).values_list("name", flat=True)
    try:
        addresses.check_out_of_band(point.address, domains)
    except addresses.Unusable as unusable:
        raise Refused(str(unusable)) from unusable


def _send(made: Decision, point: ContactPoint, kind: str, worth: timedelta) -> Notification:
    """Into the outbox, for this point alone, unless there were too many."""
    lately = Notification.objects.filter(
        account=made.account, kind__in=codes.TO_ONE_POINT, created_at__gt=made.now - timedelta(hours=1)
    ).values_list("point", "kind", "created_at")
    asked = list(lately)
    same = [at for of, what, at in asked if (of, what) == (point.pk, kind)]
    if early := codes.sent_too_often(same, [at for _of, _what, at in asked], made.now):
        raise Refused(too_soon(math.ceil((early.until - made.now).total_seconds())))
    context = {"account": made.account.name, "stale_minutes": worth // timedelta(minutes=1)}
    key = f"{kind}:{point.pk}:{made.now.isoformat()}"
    sent = notify(made, point.contact, kind, context, key, point=point)
    assert sent is not None, "two at one instant are too soon"
    return sent


def too_soon(seconds: int) -> str:
    """That another code has to wait."""
    if seconds < 120:
        return _("One was sent just now. Wait %(n)s seconds before the next.") % {"n": seconds}
    minutes = -(-seconds // 60)
    return _("Too many were sent within the last hour. Wait %(n)s minutes.") % {"n": minutes}


def wrong(left: int) -> str:
    """That a code was not the right one, and how many tries are left."""
    if left == 0:
        return _("This is not the code, and it was the last try. Send a new one.")
    return ngettext(
        "This is not the code. Only the newest one counts; there is %(n)s try left.",
        "This is not the code. Only the newest one counts; there are %(n)s tries left.",
        left,
    ) % {"n": left}
