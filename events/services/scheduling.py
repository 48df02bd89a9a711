"""Events that are written down before they begin: schedule, change, cancel; or begun at once in full."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from accounts.models import Group
from accounts.services import Actor, Decision, Refused, decision
from events import rules
from events.models import ContinuityEvent
from events.services import clock
from events.services.mode import outage_title, record_activated, refuse_active, shown

MOST_GROUPS = 10


@dataclass(frozen=True)
class Definition:
    """What an event is, as a person writes it. `starts_at` None is now; no groups is everyone.

    Instants are aware; `time_zone` is the one in which they were written and are shown.
    """

    starts_at: datetime | None
    ends_at: datetime
    time_zone: str
    title: str = ""
    groups: Collection[int] = ()
    start_text: str = ""
    end_text: str = ""
    client_policy: ContinuityEvent.ClientPolicy = ContinuityEvent.ClientPolicy.OFF
    notes: str = ""


def schedule(
    account_id: int,
    actor: Actor,
    definition: Definition,
    *,
    began: ContinuityEvent.Began = ContinuityEvent.Began.CONSOLE,
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """Write an event down, to begin by itself; without a start it begins now, and `began` says how.

    Raises Refused when the times make no sense, or another scheduled or active event of the same scope is
    in the way; AlreadyDone.
    """

    def act() -> ContinuityEvent:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            event = ContinuityEvent(account=decided.account, began_by=actor.name)
            at_once = definition.starts_at is None
            event.began = began if at_once else ContinuityEvent.Began.SCHEDULE
            event.state = ContinuityEvent.State.ACTIVE if at_once else ContinuityEvent.State.SCHEDULED
            _write(event, definition, decided)
            if at_once:
                record_activated(decided, event)
            else:
                _record(decided, "event.scheduled", event)
        return event

    return clock.settled(account_id, now, act)


def change(
    account_id: int,
    actor: Actor,
    event_id: int,
    definition: Definition,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> ContinuityEvent:
    """Write a scheduled event anew. Raises Refused as `schedule` does, and when it has begun; AlreadyDone."""

    def act() -> ContinuityEvent:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            event = _not_begun(decided, event_id)
            if definition.starts_at is None:
                raise Refused(_("Write when the event starts."))
            before = f"{event.starts_at.isoformat()} – {event.ends_at.isoformat()}"
            _write(event, definition, decided)
            _record(decided, "event.changed", event, before=before)
        return event

    return clock.settled(account_id, now, act)


def cancel(
    account_id: int,
    actor: Actor,
    event_id: int,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> None:
    """Take back a scheduled event: what never was is in no list; the audit keeps what it would have been.

    Raises Refused when it has begun or is there no more; AlreadyDone.
    """

    def act() -> None:
        with decision(account_id, actor, request_key=request_key, now=now) as decided:
            clock.up_to_date(decided)
            event = _not_begun(decided, event_id)
            _record(decided, "event.cancelled", event, before="scheduled")
            event.delete()

    clock.settled(account_id, now, act)


def _not_begun(decided: Decision, event_id: int) -> ContinuityEvent:
    event = ContinuityEvent.objects.filter(account=decided.account, pk=event_id).first()
    if event is None:
        raise Refused(_("This event was cancelled."))
    if event.state == ContinuityEvent.State.SCHEDULED:
        return event
    raise Refused(
        _("This event has begun, on %(start)s, and cannot be changed or cancelled any more.")
        % {"start": shown(event.starts_at, decided)}
    )


def _write(event: ContinuityEvent, definition: Definition, decided: Decision) -> None:
    groups = list(Group.objects.filter(account=decided.account, pk__in=definition.groups))
    if len(groups) < len(set(definition.groups)):
        raise Refused(_("One of these groups is there no more. Choose again."))
    if len(groups) > MOST_GROUPS:
        raise Refused(_("Choose at most %(most)d groups.") % {"most": MOST_GROUPS})
    event.scope = rules.scope_of(group.pk for group in groups)
    event.starts_at = definition.starts_at or decided.now
    event.ends_at = definition.ends_at
    _check_times(event, decided, at_once=definition.starts_at is None)
    _check_free(event, decided)
    event.time_zone = definition.time_zone
    event.title = definition.title.strip() or outage_title(decided.account.pk)
    event.start_text, event.end_text = definition.start_text, definition.end_text
    event.client_policy, event.notes = definition.client_policy, definition.notes
    event.save()
    event.groups.set(groups)


def _check_times(event: ContinuityEvent, decided: Decision, *, at_once: bool) -> None:
    if event.ends_at <= event.starts_at:
        raise Refused(_("The end must be later than the start."))
    if not at_once and event.starts_at <= decided.now:
        raise Refused(_("The start lies in the past. Leave it empty to begin now."))
    if event.starts_at > decided.now + rules.FURTHEST_START:
        days = rules.FURTHEST_START.days
        raise Refused(_("An event can be scheduled for at most %(days)d days from now.") % {"days": days})
    if event.ends_at > event.starts_at + rules.FURTHEST_END:
        days = rules.FURTHEST_END.days
        raise Refused(_("An event lasts at most %(days)d days.") % {"days": days})


def _check_free(event: ContinuityEvent, decided: Decision) -> None:
    """Raises Refused when another event of the scope is scheduled or active at that time."""
    if event.state == ContinuityEvent.State.ACTIVE:
        refuse_active(decided, event.scope)
    others = ContinuityEvent.objects.filter(account=decided.account, scope=event.scope).exclude(
        state=ContinuityEvent.State.ENDED
    )
    meets = others.filter(starts_at__lt=event.ends_at, ends_at__gt=event.starts_at)
    other = meets.exclude(pk=event.pk).order_by("starts_at").first()
    if other:
        raise Refused(
            _("“%(title)s” is in the way, from %(start)s to %(end)s, for the same people.")
            % {
                "title": other.title,
                "start": shown(other.starts_at, decided),
                "end": shown(other.ends_at, decided),
            }
        )


def _record(decided: Decision, action: str, event: ContinuityEvent, before: str = "") -> None:
    span = f"{event.starts_at.isoformat()} – {event.ends_at.isoformat()}"
    decided.record(
        action, subject=f"event:{event.pk}", before=before, after=span, title=event.title, scope=event.scope
    )


def wall(instant: datetime, time_zone: str) -> datetime:
    """The naive time that a wall clock of the zone shows, to the minute."""
    return instant.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None, second=0, microsecond=0)
