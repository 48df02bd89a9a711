"""Calls of users: logged while on the phone, settled, opened again. Support staff may do all of it."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from accounts.models import Person
from accounts.services import Actor, Decision, Refused, decision
from events.models import ContinuityEvent, SupportCall
from events.services import checklist


def log(
    account_id: int,
    actor: Actor,
    *,
    name: str,
    what: str,
    person: Person | None = None,
    event: ContinuityEvent | None = None,
    settled: bool = False,
    request_key: str | None = None,
    now: datetime | None = None,
) -> SupportCall:
    """Keep who called and what about. Raises Refused for what is of another account, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        if any(one and one.account_id != account_id for one in (person, event)):
            raise Refused(_("There is nothing of that kind in this account."))
        call = SupportCall.objects.create(
            account_id=account_id,
            event=event,
            person=person,
            name=(str(person) if person else name.strip())[:160],
            what=what.strip()[:2000],
            logged_at=made.now,
            logged_by=actor.name,
            settled_at=made.now if settled else None,
            settled_by=actor.name if settled else "",
        )
        after = "settled" if settled else "open"
        made.record("call.logged", subject=f"call:{call.pk}", after=after, event=event.pk if event else None)
        checklist.note_calls(made, call.event_id)
    return call


def settle(
    account_id: int,
    actor: Actor,
    call_id: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """The user was helped. Raises Refused when that was noted already, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        open_call = SupportCall.objects.filter(pk=call_id, account=account_id, settled_at=None)
        if not open_call.update(settled_at=made.now, settled_by=actor.name):
            raise Refused(_("This call is settled already."))
        _record(made, call_id, "call.settled", "open", "settled")


def reopen(
    account_id: int,
    actor: Actor,
    call_id: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """The user called again, or was not helped after all. Raises Refused when it is open, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        done = SupportCall.objects.filter(pk=call_id, account=account_id, settled_at__isnull=False)
        if not done.update(settled_at=None, settled_by=""):
            raise Refused(_("This call is open already."))
        _record(made, call_id, "call.reopened", "settled", "open")


def _record(made: Decision, call_id: int, action: str, before: str, after: str) -> None:
    event_id = SupportCall.objects.values_list("event", flat=True).get(pk=call_id)
    made.record(action, subject=f"call:{call_id}", before=before, after=after, event=event_id)
    checklist.note_calls(made, event_id)
