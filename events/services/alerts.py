"""Whom an outage alerts, and when: the first alert, the reminders, the recovery notice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Prefetch, Q

from accounts.models import Contact
from accounts.services import SCHEDULER, Decision, decision
from delivery import reads as delivery_reads
from events import rules
from events.models import AlertSettings, AlertStream, ContinuityEvent
from events.services.escalation import Seen, Turns, alert_key, seen, step_wait
from monitoring.models import Outage
from monitoring.rules import is_over_for_good
from notifications import services as notifications
from notifications.models import Suspension

CLOCK_SET_BACK = timedelta(seconds=30)
"""A last alert so far ahead of now was sent by a clock that has been put back since."""


@dataclass(frozen=True)
class _Step:
    """What is to be done for one contact and one outage."""

    outage: Outage
    contact: Contact
    stream: AlertStream | None
    next_at: datetime
    step: int = 1
    alert: bool = False
    recovered: bool = False
    rewound: bool = False


def accounts() -> list[int]:
    """Accounts that somebody may have to be told about: an outage is open, or its end was not told."""
    lasting = Outage.objects.filter(closed_at=None).values_list("account", flat=True)
    untold = AlertStream.objects.filter(recovered_at=None).values_list("outage__account", flat=True)
    return sorted({*lasting, *untold})


def decide(account_id: int, now: datetime) -> int:
    """Open streams, decide the alerts and recovery notices that are due; returns how many were decided.

    Looks without a lock first: with nothing to do none is taken. What is due is found again under the
    account lock, so that two ticks at once decide each alert once.
    """
    if not _steps(account_id, now):
        return 0
    with decision(account_id, SCHEDULER, now=now) as decided:
        steps = _steps(account_id, now)
        facts = _facts(decided)
        interval = alert_interval(account_id)
        known = seen(account_id, [step.outage for step in steps])
        alerted = [step for step in steps if step.alert]
        escalated = [step for step in alerted if step.step > 1 and not (step.stream and step.stream.slot)]
        for step in steps:
            _take(step, decided, facts, interval, known.get(step.outage.pk))
        told = [step for step in steps if step.recovered and _is_told(step)]
        _record(decided, "alert.decided", [step for step in alerted if step not in escalated])
        _record(decided, "alert.escalated", escalated)
        _record(decided, "alert.recovery", told)
    return len(alerted) + len(told)


def _steps(account_id: int, now: datetime) -> list[_Step]:
    streams: dict[int, dict[int, AlertStream]] = defaultdict(dict)
    untold = AlertStream.objects.filter(outage__account_id=account_id).filter(
        Q(recovered_at=None) | Q(outage__closed_at=None)
    )
    for stream in untold.select_related("contact"):
        streams[stream.outage_id][stream.contact_id] = stream
    outages = _outages(account_id, streams)
    if not outages:
        return []
    interval = alert_interval(account_id)
    silences = _Silences(account_id, min(outage.opened_at for outage in outages))
    turns, wait = Turns(account_id, outages), step_wait(account_id)
    steps: list[_Step] = []
    for outage in outages:
        known = streams[outage.pk]
        if outage.closed_at is not None:
            if is_worth_telling(outage, now):
                steps += [_Step(outage, s.contact, s, s.next_at, recovered=True) for s in known.values()]
            continue
        contacts = contacts_of(outage)
        for contact in contacts:
            begun = known.get(contact.pk)
            since = outage.opened_at
            if begun is None or not begun.slot:
                from_at = turns.told_from(outage, contact, contacts, wait, now)
                if from_at is None or from_at > now:
                    continue
                since = from_at
            of = turns.step(outage.monitor_id, contact)
            step = _open_step(outage, contact, begun, since, of, interval, silences, now)
            if step is not None:
                steps.append(step)
    return steps


def is_worth_telling(outage: Outage, now: datetime) -> bool:
    """Whether the end of an outage is told now: at once the first time, then only when it is over for good.

    So one that comes and goes is told over, down again, and over, not every few minutes.
    """
    return not outage.reopened or outage.closed_at is None or is_over_for_good(outage.closed_at, now)


def _outages(account_id: int, with_streams: Iterable[int]) -> list[Outage]:
    active = Contact.objects.filter(active=True).order_by("pk")
    return list(
        Outage.objects.filter(Q(closed_at=None) | Q(pk__in=list(with_streams)), account_id=account_id)
        .select_related("monitor", "account")
        .prefetch_related(
            Prefetch("monitor__contacts", active, to_attr="active_contacts"),
            Prefetch("account__contacts", active, to_attr="active_contacts"),
        )
        .order_by("pk")
    )


def contacts_of(outage: Outage) -> list[Contact]:
    """Whom this outage alerts: the monitor's contacts; every active one of the account if it has none."""
    own: list[Contact] = outage.monitor.active_contacts  # type: ignore[attr-defined]
    everybody: list[Contact] = outage.account.active_contacts  # type: ignore[attr-defined]
    return own or everybody


def _open_step(
    outage: Outage,
    contact: Contact,
    stream: AlertStream | None,
    since: datetime,
    of: int,
    interval: timedelta,
    silences: _Silences,
    now: datetime,
) -> _Step | None:
    """The step of a contact while the outage lasts, or None when nothing is to be done yet."""
    slot_at, last_at = (stream.next_at, stream.last_at) if stream else (min(since, now), None)
    if stream is not None and stream.last_at is not None and stream.last_at > now + CLOCK_SET_BACK:
        # Whoever was alerted by a clock that was ahead is reminded after the usual time, as of now.
        return _Step(outage, contact, stream, now + interval, of, rewound=True)
    if stream is not None and stream.recovered_at is not None:
        slot_at, last_at = now, None  # down again: whoever was told that it is over is told at once
    due = rules.due_at(slot_at, last_at, interval, silences.of(contact, outage), now)
    if due <= now:
        return _Step(outage, contact, stream, rules.next_slot(due, interval, now), of, alert=True)
    return None if stream else _Step(outage, contact, None, slot_at, of)


def _take(
    step: _Step, decided: Decision, facts: dict[str, object], interval: timedelta, known: Seen | None
) -> None:
    stream = step.stream or AlertStream(outage=step.outage, contact=step.contact, next_at=step.next_at)
    about: dict[str, object] = {
        "account": decided.account.name,
        "monitor": step.outage.monitor.description,
        "since": step.outage.failing_since.isoformat(),
    }
    if step.alert:
        again = stream.recovered_at is not None
        stream.slot += 1
        stream.last_at, stream.next_at, stream.recovered_at = decided.now, step.next_at, None
        kind = "outage" if again or stream.slot == 1 else "reminder"
        about |= facts | {"reply": step.outage.reply, "slot": stream.slot, "again": again}
        about |= {"seen_by": known.who, "seen_at": known.at.isoformat()} if known else {}
        about["stale_minutes"] = interval // timedelta(minutes=1)  # then the next one replaces it
        key = alert_key(step.outage.pk, step.contact.pk, stream.slot)
        notifications.notify(decided, step.contact, kind, about, key)
    if step.rewound:
        stream.last_at, stream.next_at = decided.now, step.next_at
    if step.recovered:
        stream.recovered_at = decided.now
        if _is_told(step):
            closed = step.outage.closed_at
            about |= {"closed": closed and closed.isoformat(), "queued": facts["queued"]}
            key = f"outage:{step.outage.pk}:contact:{step.contact.pk}:recovery:{stream.slot}"
            notifications.notify(decided, step.contact, "recovery", about, key)
    stream.save()


def _is_told(step: _Step) -> bool:
    """Whether the end is worth a notice: the contact was alerted, and it is the end of the outage.

    When the monitor was switched off or lost its route, its outage is closed too; that the server is back
    nobody knows.
    """
    alerted = step.stream is not None and step.stream.slot > 0
    return alerted and step.contact.active and step.outage.monitor.watches


def _facts(decided: Decision) -> dict[str, object]:
    """What every alert of the account says besides the outage itself."""
    queue = delivery_reads.queue_figures(decided.account.pk)
    event = ContinuityEvent.objects.active(decided.now).for_everyone().filter(account=decided.account).first()
    return {
        "queued": queue.queued,
        "oldest": queue.oldest.isoformat() if queue.oldest else None,
        "mode_until": event.ends_at.isoformat() if event else None,
    }


def _record(decided: Decision, action: str, steps: list[_Step]) -> None:
    """One audit row for each outage, naming who is told."""
    by_outage: dict[int, list[Contact]] = defaultdict(list)
    for step in steps:
        by_outage[step.outage.pk].append(step.contact)
    for outage_id, contacts in by_outage.items():
        decided.record(
            action,
            subject=f"outage:{outage_id}",
            contacts=[contact.pk for contact in contacts],
            names=[contact.name for contact in contacts],
        )


class _Silences:
    """The suspensions of an account that ended after `since`, by whom and which outage they silence."""

    def __init__(self, account_id: int, since: datetime) -> None:
        self._rows = list(Suspension.objects.filter(account_id=account_id, until__gt=since))

    def of(self, contact: Contact, outage: Outage) -> list[rules.Silence]:
        """Those for everyone or for this contact, made when the outage was open already."""
        return [
            rules.Silence(row.made_at, row.until)
            for row in self._rows
            if row.contact_id in (None, contact.pk) and row.made_at >= outage.opened_at
        ]


def alert_interval(account_id: int) -> timedelta:
    """The time between two alerts about one outage to one contact."""
    settings = AlertSettings.objects.filter(pk=account_id).first() or AlertSettings(account_id=account_id)
    return timedelta(minutes=settings.interval_minutes)


def next_alert_at(contact: Contact, now: datetime) -> datetime | None:
    """When this contact is alerted next if the outages last and nothing changes, or None."""
    streams = list(
        AlertStream.objects.filter(contact=contact, recovered_at=None, outage__closed_at=None)
        .select_related("outage")
        .order_by("outage__opened_at")
    )
    if not streams:
        return None
    interval = alert_interval(contact.account_id)
    silences = _Silences(contact.account_id, streams[0].outage.opened_at)
    return min(
        rules.due_at(s.next_at, s.last_at, interval, silences.of(contact, s.outage), now) for s in streams
    )
