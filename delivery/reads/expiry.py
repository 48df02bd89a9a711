"""What goes back to its senders soon, and what should have but cannot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, Min, OuterRef, QuerySet, Subquery

from delivery.models import DeliverySettings, NextHop, Pause, Recipient, Route
from delivery.reads.queue import running_now


@dataclass(frozen=True)
class Expiring:
    """Inbound recipients that are given up unless they are delivered or deliveries are paused.

    `first_at` is in wall time, and past where an attempt at the limit is still to be made.
    """

    number: int
    first_at: datetime


def accounts_expiring(before: datetime) -> list[int]:
    """Accounts that may have queued inbound mail whose time is over by `before`; none that is paused.

    An index probe a next hop. The running clock is never ahead of the wall clock, so none is left out.
    """
    soon = Recipient.objects.still_queued().filter(next_hop=OuterRef("pk"), expires_at__lte=before)
    paused = Pause.objects.filter(account=OuterRef("route__account"), ended_at=None)
    hops = NextHop.objects.filter(~Exists(paused), Exists(soon), route__kind=Route.Kind.INBOUND)
    return sorted(set(hops.values_list("route__account_id", flat=True)))


def inbound_expires_first(account_id: int, now: datetime) -> datetime | None:
    """When the first queued inbound mail is given up, in wall time; None without any, or paused.

    An index probe a next hop.
    """
    if Pause.objects.filter(account_id=account_id, ended_at=None, started_at__lte=now).exists():
        return None
    queued = Recipient.objects.still_queued().filter(next_hop=OuterRef("pk")).order_by("expires_at")
    hops = _inbound(account_id).annotate(first=Subquery(queued.values("expires_at")[:1]))
    first: datetime | None = hops.aggregate(value=Min("first"))["value"]
    return first and now + (first - running_now(account_id, now))


def expires_within(account_id: int, now: datetime, span: timedelta) -> Expiring | None:
    """Queued inbound mail of the account whose time is over within `span`; None without any, or paused.

    Costs by the number that expires, not by the length of the queue.
    """
    first_at = inbound_expires_first(account_id, now)
    if first_at is None or first_at > now + span:
        return None
    hops = list(_inbound(account_id).values_list("pk", flat=True))
    until = running_now(account_id, now) + span
    expiring = Recipient.objects.still_queued().filter(next_hop__in=hops, expires_at__lte=until)
    return Expiring(expiring.count(), first_at)


def queue_lifetime(account_id: int) -> timedelta:
    """How long the account's mail waits before it is given up."""
    hours = DeliverySettings.objects.filter(pk=account_id).values_list("queue_hours", flat=True).first()
    return timedelta(hours=hours or 96)


def _inbound(account_id: int) -> QuerySet[NextHop]:
    return NextHop.objects.filter(route__account_id=account_id, route__kind=Route.Kind.INBOUND)


def accounts_without_bounce_route(now: datetime) -> list[int]:
    """Accounts whose bounces wait because there is no outbound route. An index probe a next hop."""
    waiting = Recipient.objects.filter(
        next_hop=OuterRef("pk"), state=Recipient.State.EXPIRED, next_attempt_at__gt=now
    )
    outbound = Route.objects.filter(account=OuterRef("route__account"), kind=Route.Kind.OUTBOUND)
    hops = NextHop.objects.filter(Exists(waiting), ~Exists(outbound))
    return sorted(set(hops.values_list("route__account_id", flat=True)))


def bounces_without_route(account_id: int, now: datetime) -> int:
    """Recipients whose sender cannot be told because the account has no outbound route. One query."""
    hops = NextHop.objects.filter(route__account_id=account_id).values("pk")
    outbound = Route.objects.filter(account_id=account_id, kind=Route.Kind.OUTBOUND)
    waiting = Recipient.objects.filter(
        ~Exists(outbound), next_hop__in=hops, state=Recipient.State.EXPIRED, next_attempt_at__gt=now
    )
    return waiting.count()


def bounces_waiting(account_id: int) -> int:
    """Recipients of the account whose sender is to be told and was not yet."""
    hops = NextHop.objects.filter(route__account_id=account_id).values("pk")
    return Recipient.objects.filter(next_hop__in=hops, state=Recipient.State.EXPIRED).count()
