"""Read-only questions about events and alerts, for the portal and the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.models import AuditEntry, Contact
from delivery import reads as delivery
from delivery.models import NextHop
from delivery.reads import DiskForecast, Drain, Expiring, PauseState, QueueFigures
from events import rules
from events.models import AlertStream, ContinuityEvent, ManageLink
from events.services import alerts, escalation, expiry, suspending
from events.services.escalation import Seen
from monitoring import reads as monitoring
from monitoring.models import Outage
from notifications.models import Suspension


@dataclass(frozen=True)
class Status:
    """An account at one instant. The fields about a contact are None where none was asked for."""

    now: datetime
    event: ContinuityEvent | None
    outages: tuple[Outage, ...]
    seen: Seen | None
    suspended_until: datetime | None
    own_suspended_until: datetime | None
    can_suspend: bool
    alerted_again_at: datetime | None
    pause: PauseState
    failing: bool
    inbound: str
    queue: QueueFigures
    drain: Drain | None
    first_bounce_at: datetime | None
    expiring: Expiring | None
    disk: DiskForecast | None


def status(account_id: int, now: datetime, contact: Contact | None = None) -> Status:
    """What an administrator has to know at once. A constant number of queries.

    `seen` is who has seen all open outages, the last one to say so; None while one is not seen by anybody.
    `suspended_until` is the end of what silences everybody; `own_suspended_until` of what silences the
    contact, which may be later. `failing` is whether an outage still shows failures; `inbound` the worst
    `NextHop.State` of the way to the mail servers, `down` while one fails. `first_bounce_at` is None
    while deliveries are paused. `expiring` is the
    inbound mail that goes back within the next day and the day after its first; None if none does.
    """
    recent = list(suspending.recent(account_id, now).select_related("monitor").order_by("opened_at"))
    everybody, own = _silences(account_id, recent, contact, now)
    lasting = tuple(outage for outage in recent if outage.closed_at is None)
    pause = delivery.pause_state(account_id, now)
    failing = monitoring.is_failing(account_id)
    return Status(
        now=now,
        event=ContinuityEvent.objects.active(now).for_everyone().filter(account_id=account_id).first(),
        outages=lasting,
        seen=escalation.all_seen(account_id, lasting),
        suspended_until=rules.silenced_until(everybody, now),
        own_suspended_until=rules.silenced_until(own, now),
        can_suspend=bool(recent),
        alerted_again_at=alerts.next_alert_at(contact, now) if contact else None,
        pause=pause,
        failing=failing,
        inbound=NextHop.State.DOWN if failing else delivery.inbound_state(account_id),
        queue=delivery.queue_figures(account_id),
        drain=delivery.drain_progress(account_id, now),
        first_bounce_at=None if pause.mode != "flowing" else delivery.expires_first(account_id, now),
        expiring=expiry.going_back(account_id, now),
        disk=None if pause.mode == "flowing" else delivery.disk_forecast(account_id, now),
    )


def _silences(
    account_id: int, outages: list[Outage], contact: Contact | None, now: datetime
) -> tuple[list[rules.Silence], list[rules.Silence]]:
    """What silences alerts about these outages: for everybody, and for the contact (everybody's too)."""
    if not outages:
        return [], []
    since = outages[0].opened_at
    rows = Suspension.objects.filter(account_id=account_id, until__gt=now, made_at__gte=since)
    silences = [(row.contact_id, rules.Silence(row.made_at, row.until)) for row in rows]
    own = (None, contact.pk) if contact else (None,)
    return (
        [silence for owner, silence in silences if owner is None],
        [silence for owner, silence in silences if owner in own],
    )


def link_by_id(link_id: int) -> ManageLink | None:
    """The link with its account and contact, whether it works or not."""
    return ManageLink.objects.select_related("account", "contact").filter(pk=link_id).first()


def done_by(link: ManageLink, number: int) -> AuditEntry | None:
    """The audit row of this number if it is of something that the link's contact did by link."""
    return AuditEntry.objects.filter(
        account_id=link.account_id, number=number, by=AuditEntry.By.CONTACT, actor_id=link.contact_id
    ).first()


def alerts_of(outage: Outage) -> list[AlertStream]:
    """Who was alerted about the outage, how often, and when next."""
    return list(outage.alert_streams.select_related("contact").order_by("contact__name"))
