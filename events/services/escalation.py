"""Whose turn it is: who has seen an outage, at which step a contact is told, and by how many ways."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from accounts.models import AuditEntry, Contact
from accounts.services import SCHEDULER, Actor, Refused, decision
from events import rules
from events.models import AlertSettings, AlertStream, EscalationStep
from monitoring.models import Monitor, Outage
from notifications import reads as notifications_reads
from notifications import services as notifications
from notifications.models import Notification

_PEOPLE = (AuditEntry.By.USER, AuditEntry.By.CONTACT, AuditEntry.By.API)


@dataclass(frozen=True)
class Seen:
    """Who has seen an outage first, and when."""

    who: str
    at: datetime


def seen(account_id: int, outages: Iterable[Outage]) -> dict[int, Seen]:
    """The outages that somebody has acknowledged, by number. One query.

    It is read from the audit: whatever a person decides about the account while an outage is open shows
    that they know of it, whichever way they took.
    """
    outages = list(outages)
    if not outages:
        return {}
    since = min(outage.opened_at for outage in outages)
    entries = AuditEntry.objects.filter(
        account=account_id, at__gte=since, by__in=_PEOPLE, action__in=rules.ACKNOWLEDGING
    )
    acts = [Seen(who, at) for who, at in entries.order_by("number").values_list("actor_name", "at")]
    found = {}
    for outage in outages:
        first = next((act for act in acts if act.at >= outage.opened_at), None)
        if first:
            found[outage.pk] = first
    return found


def all_seen(account_id: int, outages: Collection[Outage]) -> Seen | None:
    """Who said last of these outages that they have seen them; None while one is seen by nobody."""
    known = seen(account_id, outages)
    if not known or len(known) < len(outages):
        return None
    return max(known.values(), key=lambda one: one.at)


def acknowledge(
    account_id: int, actor: Actor, *, request_key: str | None = None, now: datetime | None = None
) -> None:
    """“I have seen this”: nobody else is woken for the outages that are open. Raises Refused, AlreadyDone."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        lasting = Outage.objects.filter(account=account_id, closed_at=None).order_by("opened_at")
        outages = list(lasting.values_list("pk", flat=True))
        if not outages:
            raise Refused(_("There is no outage any more."))
        made.record("outage.acknowledged", subject=f"outage:{outages[0]}", outages=outages)


class Turns:
    """Who is told from when on, for the open outages of one account. Three queries."""

    def __init__(self, account_id: int, outages: Collection[Outage]) -> None:
        self.seen = seen(account_id, outages)
        monitors = {outage.monitor_id for outage in outages}
        self._steps = steps_of(monitors)
        self._reachable = notifications_reads.with_a_usable_point(account_id) if self._steps else set()

    def step(self, monitor_id: int, contact: Contact) -> int:
        """At which step of the escalation a contact stands."""
        return self._steps.get((monitor_id, contact.pk), 1)

    def told_from(
        self, outage: Outage, contact: Contact, contacts: Iterable[Contact], wait: timedelta, now: datetime
    ) -> datetime | None:
        """From when on a contact is told of an outage that these contacts are told of, or None.

        One that opened in the future, by a clock that has been put back since, opened now.
        """
        reachable = [self.step(outage.monitor_id, one) for one in contacts if one.pk in self._reachable]
        ranked = rules.rank(self.step(outage.monitor_id, contact), reachable)
        return rules.told_from(min(outage.opened_at, now), ranked, wait, outage.pk in self.seen)


def steps_of(monitors: Collection[int]) -> dict[tuple[int, int], int]:
    """The later steps, by monitor and contact."""
    rows = EscalationStep.objects.filter(monitor__in=monitors)
    return {(row.monitor_id, row.contact_id): row.step for row in rows}


def set_steps(
    monitor: Monitor, actor: Actor, steps: dict[Contact, int], *, request_key: str | None = None
) -> None:
    """Put these contacts of a monitor at these steps, and forget any others. Raises AlreadyDone."""
    with decision(monitor.account_id, actor, request_key=request_key) as made:
        EscalationStep.objects.filter(monitor=monitor).delete()
        later = [(contact, step) for contact, step in steps.items() if step > 1]
        EscalationStep.objects.bulk_create(
            EscalationStep(monitor=monitor, contact=contact, step=step) for contact, step in later
        )
        told = {contact.name: step for contact, step in steps.items()}
        made.record("monitor.steps_changed", subject=f"monitor:{monitor.pk}", steps=told)


def step_wait(account_id: int) -> timedelta:
    """How long a step has to acknowledge before the next one is told."""
    settings = AlertSettings.objects.filter(pk=account_id).first() or AlertSettings(account_id=account_id)
    return timedelta(minutes=settings.step_minutes)


def alert_key(outage_id: int, contact_id: int, slot: int) -> str:
    """Names one alert: what is told to whom in which slot."""
    return f"outage:{outage_id}:contact:{contact_id}:slot:{slot}"


def accounts() -> list[int]:
    """Accounts with an outage that somebody was alerted about."""
    lasting = AlertStream.objects.filter(recovered_at=None, outage__closed_at=None, slot__gt=0)
    return sorted(set(lasting.values_list("outage__account", flat=True)))


def fall_through(account_id: int, now: datetime) -> int:
    """Send what nobody has seen by the contact's next point as well; returns how many alerts moved on.

    Looks without a lock first, and again under the account lock, where somebody may have seen it meanwhile.
    """
    if not _unseen(account_id, now):
        return 0
    moved = 0
    with decision(account_id, SCHEDULER, now=now) as made:
        for alert, stream in _unseen(account_id, now):
            if notifications.next_point(made, alert.pk):
                moved += 1
                made.record(
                    "alert.fell_through",
                    subject=f"outage:{stream.outage_id}",
                    contacts=[stream.contact_id],
                    names=[stream.contact.name],
                )
    return moved


def _unseen(account_id: int, now: datetime) -> list[tuple[Notification, AlertStream]]:
    streams = AlertStream.objects.filter(
        outage__account=account_id,
        outage__closed_at=None,
        recovered_at=None,
        slot__gt=0,
        contact__active=True,
        contact__telling=Contact.Telling.IN_ORDER,
    ).select_related("outage", "contact")
    known = seen(account_id, [stream.outage for stream in streams])
    by_key = {
        alert_key(stream.outage_id, stream.contact_id, stream.slot): stream
        for stream in streams
        if stream.outage_id not in known
    }
    return [(one, by_key[one.dedupe_key]) for one in notifications_reads.to_fall_through(by_key, now)]
