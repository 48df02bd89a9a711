"""Continuity mode: activate, extend, stop. It never changes the flow of mail."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from accounts.models import Account, AuditEntry, Contact, User
from accounts.services import Actor, Decision, Refused, decision
from events import rules
from events.models import ContinuityEvent
from events.services import checklist, clock
from events.words import moment
from monitoring.models import Outage

_ACTIVE = ContinuityEvent.State.ACTIVE


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
    """Begin continuity mode, for everyone, for so many hours from now (1 to 720).

    Raises Refused when it is active already or the hours make no sense, AlreadyDone when this request
    was done before.
    """

    def act() -> ContinuityEvent:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            refuse_active(decided, "")
            event = ContinuityEvent.objects.create(
                account_id=account_id,
                title=title or outage_title(account_id),
                state=_ACTIVE,
                starts_at=decided.now,
                ends_at=_end(decided.now, hours, decided),
                time_zone=decided.account.time_zone,
                began=began,
                began_by=actor.name,
            )
            record_activated(decided, event, hours=hours)
        return event

    return clock.settled(account_id, now, act)


def refuse_active(decided: Decision, scope: str) -> None:
    """Raises Refused when an event of the scope is active."""
    current = ContinuityEvent.objects.filter(account=decided.account, scope=scope, state=_ACTIVE).first()
    if current is None:
        return
    sentence = (
        _("An event for these groups is already active until %(end)s.")
        if scope
        else _("Continuity mode is already active until %(end)s.")
    )
    raise Refused(sentence % {"end": shown(current.ends_at, decided)})


def record_activated(decided: Decision, event: ContinuityEvent, **details: Any) -> None:
    """A person's activation in the audit."""
    decided.record(
        "event.activated",
        subject=f"event:{event.pk}",
        before="inactive",
        after="active",
        until=event.ends_at.isoformat(),
        began=str(event.began),
        **({"scope": event.scope} if event.scope else {}),
        **details,
    )


def extend(
    account_id: int,
    actor: Actor,
    hours: int,
    *,
    event_id: int | None = None,
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """Add so many hours to the end of the active event, so that two people who extend at once both count.

    `event_id` names the event that is meant, and only that; None the one for everyone. Raises Refused when
    it is not active, or the end would lie more than 30 days ahead; AlreadyDone.
    """

    def act() -> ContinuityEvent:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            event = _current(decided, event_id)
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
                **({"scope": event.scope} if event.scope else {}),
            )
        return event

    return clock.settled(account_id, now, act)


def stop(
    account_id: int,
    actor: Actor,
    *,
    event_id: int | None = None,
    reason: str = "",
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """End the active event now; `event_id` as in `extend`. Raises Refused when it is over; AlreadyDone."""

    def act() -> ContinuityEvent:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            event = _current(decided, event_id)
            clock.close(event, decided, ContinuityEvent.Ended.STOPPED, decided.now)
            scope = {"scope": event.scope} if event.scope else {}
            subject = f"event:{event.pk}"
            decided.record(
                "event.stopped", subject=subject, before="active", after="ended", reason=reason, **scope
            )
            checklist.open_for(decided, event)
        return event

    return clock.settled(account_id, now, act)


def _current(decided: Decision, event_id: int | None) -> ContinuityEvent:
    """The event that is meant, if it is active. Raises Refused, saying since when it is not."""
    events = ContinuityEvent.objects.filter(account=decided.account)
    meant = events.for_everyone() if event_id is None else events.filter(pk=event_id)
    event = meant.filter(state=_ACTIVE).first()
    if event is not None:
        return event
    last = meant.filter(state=ContinuityEvent.State.ENDED).order_by("-starts_at").first()
    if last is None:
        raise Refused(_("Continuity mode is not active."))
    ended = shown(last.ended_at or last.ends_at, decided)
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


def outage_title(account_id: int) -> str:
    """What an event is called that nobody named: like the monitor whose outage it answers."""
    outage = Outage.objects.filter(account_id=account_id, closed_at=None).select_related("monitor").first()
    return outage.monitor.description if outage else _("Continuity mode")


def shown(instant: datetime, decided: Decision) -> str:
    """The instant in the zone of whoever asked."""
    return moment(instant, _zone(decided.actor, decided.account), decided.now)


def _zone(actor: Actor, account: Account) -> ZoneInfo:
    people: dict[str, type[Contact | User]] = {AuditEntry.By.CONTACT: Contact, AuditEntry.By.USER: User}
    model = people.get(actor.by)
    if model is None or actor.id is None:
        return ZoneInfo(account.time_zone)
    name = model._default_manager.filter(pk=actor.id).values_list("time_zone", flat=True).first()
    return ZoneInfo(name or account.time_zone)
