"""What administrators decide about notices: write, start, pause, resume, cancel, try failures again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import django_rq
from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from redis.exceptions import RedisError

from accounts.models import Person
from accounts.services import Actor, Decision, Refused, decision
from notifications.bulk.forms import NoticeForm
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.bulk.people import FIELDS, reach

logger = logging.getLogger(__name__)
State = Notice.State
Copy = NoticeRecipient.State

# What may be tried again: what failed, with those who had no address then; or what perhaps arrived.
FAILURES: tuple[NoticeRecipient.State, ...] = (Copy.FAILED, Copy.UNREACHABLE)
PERHAPS: tuple[NoticeRecipient.State, ...] = (Copy.UNKNOWN,)


_NOW: dict[str, object] = {
    State.DRAFT: gettext_lazy("It was not started yet."),
    State.RUNNING: gettext_lazy("It was started, and is being sent."),
    State.PAUSED: gettext_lazy("It is paused."),
    State.CANCELLED: gettext_lazy("It was cancelled."),
    State.DONE: gettext_lazy("It has been sent."),
}


@contextmanager
def _deciding(
    account_id: int, actor: Actor, notice_id: int, key: str | None, *states: Notice.State
) -> Iterator[tuple[Decision, Notice]]:
    """A decision about a notice that is in one of these states. Raises AlreadyDone, Refused."""
    with decision(account_id, actor, request_key=key) as made:
        notice = locked(notice_id)
        if notice.account_id != account_id:
            raise Notice.DoesNotExist
        if notice.state not in states:
            raise Refused(str(_NOW[notice.state]))
        yield made, notice


def locked(notice_id: int) -> Notice:
    """The notice, so that nobody changes its state before this transaction ends."""
    return Notice.objects.select_for_update(no_key=True).get(pk=notice_id)


def write(account_id: int, actor: Actor, form: NoticeForm, *, request_key: str | None = None) -> Notice:
    """Keep a valid form as a draft. Raises AlreadyDone, and Refused once it was started."""
    with decision(account_id, actor, request_key=request_key) as made:
        notice = form.instance
        if notice._state.adding:
            notice.made_at, notice.made_by = made.now, made.actor.name
        elif (state := locked(notice.pk).state) != State.DRAFT:
            raise Refused(str(_NOW[state]))
        notice = form.save()
        _record(made, notice, "written")
    return notice


def discard(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Delete a draft."""
    with _deciding(account_id, actor, notice_id, key, State.DRAFT) as (made, notice):
        _record(made, notice, "discarded")
        notice.delete()
    return _("The draft was deleted.")


def start(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Send a draft to all whom it is for at this moment."""
    with _deciding(account_id, actor, notice_id, key, State.DRAFT) as (made, notice):
        counted = reach(notice)
        if not counted.reachable:
            raise Refused(_("Nobody whom it is for can be reached. Nothing was sent."))
        if counted.by_channel.get("sms") and not notice.sms_text.strip():
            raise Refused(_("Some are reached by SMS: write the SMS text first. Nothing was sent."))
        notice.state, notice.started_at, notice.started_by = State.RUNNING, made.now, made.actor.name
        notice.save(update_fields=["state", "started_at", "started_by"])
        _record(made, notice, "started", people=counted.everybody, **counted.by_channel)
        _tell_worker(notice_id)
    return _("The notice is being sent.")


def pause(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Hand over nothing more until somebody resumes it; what is on its way arrives."""
    with _deciding(account_id, actor, notice_id, key, State.RUNNING) as (made, notice):
        notice.state = State.PAUSED
        notice.save(update_fields=["state"])
        _record(made, notice, "paused")
    return _("The notice is paused. What was on its way still arrives.")


def resume(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Go on with a paused notice."""
    with _deciding(account_id, actor, notice_id, key, State.PAUSED) as (made, notice):
        _go_on(notice)
        _record(made, notice, "resumed")
    return _("The notice is being sent again.")


def cancel(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Send it to nobody who has not got it; what is on its way arrives."""
    with _deciding(account_id, actor, notice_id, key, State.RUNNING, State.PAUSED) as (made, notice):
        notice.state, notice.ended_at = State.CANCELLED, made.now
        notice.save(update_fields=["state", "ended_at"])
        left = notice.recipients.filter(state=Copy.PENDING).update(state=Copy.CANCELLED, ended_at=made.now)
        _record(made, notice, "cancelled", left=left)
    return _("The notice was cancelled. Nobody else gets it.")


def retry(
    account_id: int,
    actor: Actor,
    notice_id: int,
    key: str | None = None,
    *,
    what: tuple[NoticeRecipient.State, ...] = FAILURES,
) -> str:
    """Try again those copies that are in a state of `what`, at the present addresses of their people."""
    states = (State.DONE, State.RUNNING, State.PAUSED)
    with _deciding(account_id, actor, notice_id, key, *states) as (made, notice):
        number = 0
        again = notice.recipients.filter(state__in=what)
        for channel in notice.order:
            field = FIELDS[channel]
            address = Person.objects.filter(pk=OuterRef("person_id")).values(field)[:1]
            number += again.filter(~Q(**{f"person__{field}": ""}), person__isnull=False).update(
                state=Copy.PENDING,
                channel=channel,
                address=Subquery(address),
                due_at=made.now,
                tries=0,
                words="",
                earlier="",
                ended_at=None,
            )
        if not number:
            raise Refused(_("There is nobody to try again: none of them has an address now."))
        if notice.state != State.PAUSED:
            _go_on(notice)
        _record(made, notice, "retried", copies=number, states=[str(state) for state in what])
    return _("They are tried again.")


def retry_unknown(account_id: int, actor: Actor, notice_id: int, key: str | None = None) -> str:
    """Send again to those who perhaps got it: some may get it twice."""
    return retry(account_id, actor, notice_id, key, what=PERHAPS)


def _go_on(notice: Notice) -> None:
    notice.state, notice.ended_at, notice.away_until, notice.away_times = State.RUNNING, None, None, 0
    notice.save(update_fields=["state", "ended_at", "away_until", "away_times"])
    _tell_worker(notice.pk)


def _record(made: Decision, notice: Notice, what: str, **details: Any) -> None:
    made.record(f"notice.{what}", subject=f"notice:{notice.pk}", after=notice.subject[:160], **details)


def _tell_worker(notice_id: int) -> None:
    transaction.on_commit(partial(enqueue, notice_id))


def enqueue(notice_id: int) -> bool:
    """Tell a worker at once, and whether that was possible. When Redis is away the sweep finds the notice."""
    try:
        django_rq.get_queue("bulk").enqueue("notifications.jobs.send_notice", notice_id, result_ttl=0)
    except RedisError as error:
        logger.warning("notice %s waits for the sweep: %s", notice_id, type(error).__name__)
        return False
    return True
