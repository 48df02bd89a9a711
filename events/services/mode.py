"""Continuity mode: activate, extend, stop, and what the clock ends. It never changes the flow of mail."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Account, AuditEntry, Contact, User
from accounts.services import SCHEDULER, Actor, Decision, Refused, decision
from events import rules
from events.models import ContinuityEvent, EventQuerySet
from events.services import checklist
from events.words import moment
from monitoring.models import Outage

_ACTIVE = ContinuityEvent.State.ACTIVE
_ENDED = ContinuityEvent.State.ENDED


class _RanOut(Exception):  # noqa: N818  (a step of activating)
    """The event that is in the way is over by the clock, but not yet closed."""


def activate(
    account_id: int,
    actor: Actor,
    hours: int,
    *,
    began: ContinuityEvent.Began,
    title: str = "",
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """Begin continuity mode for so many hours from now (1 to 720).

    Raises Refused when it is active already or the hours make no sense, AlreadyDone when this request
    was done before.
    """
    while True:
        try:
            return _activate(account_id, actor, hours, began, title, request_key, now)
        except _RanOut:
            # Closed in a decision of its own: it is the clock's, and the request key belongs to ours.
            close_run_out(account_id, now or timezone.now())


def _activate(
    account_id: int,
    actor: Actor,
    hours: int,
    began: ContinuityEvent.Began,
    title: str,
    request_key: str | None,
    now: datetime | None,
) -> ContinuityEvent:
    with decision(account_id, actor, request_key=request_key, now=now) as decided:
        current = ContinuityEvent.objects.filter(account_id=account_id, state=_ACTIVE).first()
        if current is not None and current.ends_at <= decided.now:
            raise _RanOut
        if current is not None:
            raise Refused(
                _("Continuity mode is already active until %(end)s.")
                % {"end": _shown(current.ends_at, decided)}
            )
        event = ContinuityEvent.objects.create(
            account_id=account_id,
            title=title or _title(account_id),
            state=_ACTIVE,
            starts_at=decided.now,
            ends_at=_end(decided.now, hours, decided),
            time_zone=decided.account.time_zone,
            began=began,
            began_by=actor.name,
        )
        decided.record(
            "event.activated",
            subject=f"event:{event.pk}",
            before="inactive",
            after="active",
            hours=hours,
            until=event.ends_at.isoformat(),
            began=str(began),
        )
    return event


def extend(
    account_id: int,
    actor: Actor,
    hours: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """Add so many hours to the end of the active event, so that two people who extend at once both count.

    Raises Refused when there is none, or the end would lie more than 30 days ahead; AlreadyDone.
    """
    with decision(account_id, actor, request_key=request_key, now=now) as decided:
        event = _current(decided)
        before = event.ends_at
        event.ends_at = _end(before, hours, decided)
        event.save(update_fields=["ends_at"])
        decided.record(
            "event.extended",
            subject=f"event:{event.pk}",
            before=f"until {before.isoformat()}",
            after=f"until {event.ends_at.isoformat()}",
            hours=hours,
            until=event.ends_at.isoformat(),
        )
    return event


def stop(
    account_id: int,
    actor: Actor,
    *,
    reason: str = "",
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """End the active event now. Raises Refused when there is none; AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as decided:
        event = _current(decided)
        _close(event, decided, ContinuityEvent.Ended.STOPPED, decided.now)
        decided.record(
            "event.stopped", subject=f"event:{event.pk}", before="active", after="ended", reason=reason
        )
        checklist.open_for(decided, event)
    return event


def accounts_run_out(now: datetime) -> list[int]:
    """Accounts with an event whose end has passed and that is not closed yet."""
    return list(_over(now).order_by("account").values_list("account", flat=True))


def close_run_out(account_id: int, now: datetime) -> int:
    """Close the account's event if its end has passed; returns 1 when it was, in a decision of the clock."""
    with decision(account_id, SCHEDULER, now=now) as decided:
        event = _over(now).filter(account_id=account_id).first()
        if event is None:  # extended, stopped or closed meanwhile
            return 0
        _close(event, decided, ContinuityEvent.Ended.RAN_OUT, event.ends_at)
        decided.record("event.ran_out", subject=f"event:{event.pk}", before="active", after="ended")
        checklist.open_for(decided, event)
    return 1


def _over(now: datetime) -> EventQuerySet:
    return ContinuityEvent.objects.filter(state=_ACTIVE, ends_at__lte=now)


def _close(event: ContinuityEvent, decided: Decision, how: ContinuityEvent.Ended, ended_at: datetime) -> None:
    event.state, event.ended, event.ended_at = _ENDED, how, ended_at
    event.ended_by = decided.actor.name
    event.save(update_fields=["state", "ended", "ended_at", "ended_by"])


def _current(decided: Decision) -> ContinuityEvent:
    """The event that is active by the clock. Raises Refused, saying since when there is none."""
    event = ContinuityEvent.objects.filter(account=decided.account, state=_ACTIVE).first()
    if event is not None and event.ends_at > decided.now:
        return event
    last = event or ContinuityEvent.objects.filter(account=decided.account).order_by("-starts_at").first()
    if last is None:
        raise Refused(_("Continuity mode is not active."))
    ended = _shown(last.ended_at or last.ends_at, decided)
    raise Refused(_("Continuity mode has already ended, on %(end)s.") % {"end": ended})


def _end(start: datetime, hours: int, decided: Decision) -> datetime:
    try:
        return rules.extended_until(start, hours, decided.now)
    except rules.NotADuration:
        raise Refused(_("Choose for how many hours.")) from None
    except rules.TooFarAhead:
        days = rules.FURTHEST_END.days
        raise Refused(
            _("Continuity mode can be active for at most %(days)d days from now.") % {"days": days}
        ) from None


def _title(account_id: int) -> str:
    outage = Outage.objects.filter(account_id=account_id, closed_at=None).select_related("monitor").first()
    return outage.monitor.description if outage else _("Continuity mode")


def _shown(instant: datetime, decided: Decision) -> str:
    """The instant in the zone of whoever asked."""
    return moment(instant, _zone(decided.actor, decided.account), decided.now)


def _zone(actor: Actor, account: Account) -> ZoneInfo:
    people: dict[str, type[Contact | User]] = {AuditEntry.By.CONTACT: Contact, AuditEntry.By.USER: User}
    model = people.get(actor.by)
    if model is None or actor.id is None:
        return ZoneInfo(account.time_zone)
    name = model._default_manager.filter(pk=actor.id).values_list("time_zone", flat=True).first()
    return ZoneInfo(name or account.time_zone)
