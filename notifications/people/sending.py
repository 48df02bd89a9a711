"""Codes of people on their way out: claimed, handed over once, outside any transaction."""

from __future__ import annotations

import logging
from datetime import datetime

import django_rq
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from notifications import codes
from notifications.people.models import PersonCode
from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, transport_for

logger = logging.getLogger(__name__)
State = PersonCode.State


def enqueue(code_id: int) -> None:
    """Tell a worker at once. When Redis is away the sweep finds the row."""
    try:
        django_rq.get_queue("alerts").enqueue("notifications.jobs.send_code", code_id, result_ttl=0)
    except RedisError as error:
        logger.warning("code %s waits for the sweep: %s", code_id, type(error).__name__)


def sweep(now: datetime) -> None:
    """Send codes that no worker was told of, while they are worth it."""
    waiting = PersonCode.objects.filter(state=State.PENDING, created_at__gt=now - codes.CODE_WORTH_SENDING)
    for code_id in list(waiting.order_by("created_at").values_list("pk", flat=True)[:20]):
        send(code_id, now)


def send(code_id: int, now: datetime) -> None:
    """Hand one code to its provider, once: who gets none asks for another."""
    claimed = PersonCode.objects.filter(
        pk=code_id, state=State.PENDING, created_at__gt=now - codes.CODE_WORTH_SENDING
    )
    if not claimed.update(state=State.SENDING):
        return
    code = PersonCode.objects.select_related("account", "person").get(pk=code_id)
    try:
        words = transport_for(code.channel, is_demo=code.account.is_demo)(_rendered(code))
        state = State.SENT
    except (PermanentFailure, TemporaryFailure) as failure:
        state, words = State.FAILED, str(failure)
    except Exception as error:
        # Only its type: what an exception says may quote the message.
        logger.error("fault in the transport for %s: %s", code.channel, type(error).__name__)
        state, words = State.FAILED, _("Fault of our own: %s") % type(error).__name__
    words = words.replace(code.code, "******").replace("\0", "")[:500]
    PersonCode.objects.filter(pk=code_id, state=State.SENDING).update(state=state, words=words)


def _rendered(code: PersonCode) -> Rendered:
    facts = {"code": code.code, "account": code.account.name, "name": code.person.name}
    text = _("%(code)s is your code from %(account)s. It works for 30 minutes.") % facts
    subject = ""
    if code.channel == "email":
        subject = _("%(code)s is your code from %(account)s") % facts
        parts = (
            _("%(name)s,"),
            _("your code is %(code)s. Type it in on the page where you asked for it, within 30 minutes."),
            _("Then %(account)s can reach you here while its mail server is down."),
            _("If you did not ask for it, do nothing."),
        )
        text = "\n\n".join(part % facts for part in parts)
    return Rendered(code.account_id, f"code.{code.pk}", code.address, code.channel, subject, text)
