"""The state of next hops: stored in NextHop, moved by `delivery.rules`, its changes audited."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import idna
from django.db import transaction
from django.db.models import Q

from accounts.services import SCHEDULER, Decision, decision
from delivery import rules
from delivery.models import NextHop, Recipient, Route

USED_NOTED = timedelta(hours=1)


@dataclass
class Memory:
    """What one courier remembers between batches. Losing it costs a little speed, never mail."""

    hops: dict[int, rules.Hop] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)


def limits_of(route: Route) -> rules.Limits:
    return rules.Limits(route.canary_first_seconds, route.canary_max_seconds, route.max_connections)


def hop_of(row: NextHop, memory: Memory | None = None) -> rules.Hop:
    """The row as the rules see it, with what this courier remembers of the same state."""
    hop = rules.Hop(
        state=rules.State(row.state),
        state_since=row.state_since,
        failures=row.failures,
        canary_successes=row.canary_successes,
        refused=tuple(row.refused_addresses),
        refused_senders=tuple(row.refused_senders),
        not_before=row.not_before,
        connections=row.connections,
        backlog_before=row.backlog_before,
    )
    known = memory.hops.get(row.pk) if memory else None
    if known and (known.state, known.state_since) == (hop.state, hop.state_since):
        hop = replace(
            hop,
            trusted=known.trusted,
            clean=known.clean,
            round_ms=known.round_ms,
            best_ms=known.best_ms,
            threshold=known.threshold,
            same_round=known.same_round,
        )
    return hop


def domain_of(address: str) -> str:
    """The address's domain in the form in which next hops keep it: A-labels in lower case (IDNA 2008)."""
    domain = address.rpartition("@")[2].lower()
    if not domain.isascii():
        with suppress(idna.IDNAError, UnicodeError):  # then the courier finds no such domain, and says so
            domain = idna.encode(domain, uts46=True).decode()
    return domain[:253]


def next_hops(places: Collection[tuple[int, str]], now: datetime) -> dict[tuple[int, str], int]:
    """The next hops of (route, domain), made where they are missing. Inbound the domain is empty."""
    routes, domains = {route for route, _ in places}, {domain for _, domain in places}

    def found() -> dict[tuple[int, str], int]:
        rows = NextHop.objects.filter(route_id__in=routes, domain__in=domains)
        return {(route, domain): pk for route, domain, pk in rows.values_list("route_id", "domain", "pk")}

    # Said before it is read: what is about to be deleted as unused is then either kept or not found.
    stale = NextHop.objects.filter(route_id__in=routes, domain__in=domains, used_at__lt=now - USED_NOTED)
    stale.update(used_at=now)
    hops = found()
    missing = sorted(set(places) - set(hops))
    if missing:
        NextHop.objects.bulk_create(
            (
                NextHop(route_id=route, domain=domain, state_since=now, used_at=now)
                for route, domain in missing
            ),
            ignore_conflicts=True,  # somebody else may be making the same one
        )
        hops = found()
    return {place: hops[place] for place in places}


def put(row: NextHop, hop: rules.Hop) -> None:
    """Copy the rules' state into the row, unsaved."""
    row.state, row.state_since = hop.state.value, hop.state_since
    row.failures, row.canary_successes = hop.failures, hop.canary_successes
    row.refused_addresses, row.refused_senders = list(hop.refused), list(hop.refused_senders)
    row.refusals = len(hop.refused)
    row.not_before, row.connections, row.backlog_before = hop.not_before, hop.connections, hop.backlog_before


def locked(ids: Iterable[int]) -> list[NextHop]:
    """The rows, locked in one order by everybody. Take the account lock first if you need it."""
    rows = NextHop.objects.select_for_update(no_key=True, of=("self",)).select_related("route")
    return list(rows.filter(pk__in=ids).order_by("pk"))


def record_transition(made: Decision, row: NextHop, before: rules.Hop, after: rules.Hop) -> None:
    """Audit that the state of a next hop changed; nothing when it did not."""
    if before.state == after.state:
        return
    made.record(
        f"route.{after.state.value}",
        subject=f"route:{row.route_id}",
        before=before.state.value,
        after=after.state.value,
        next_hop=row.pk,
        domain=row.domain,
        route=row.route.name,
        reply=row.last_reply if after.state == rules.State.DOWN else "",
    )


def move(
    hop_id: int,
    event: rules.Event,
    now: datetime,
    *,
    made: Decision | None = None,
    still: Callable[[NextHop], bool] = lambda row: True,
) -> rules.Hop | None:
    """Apply one event to a next hop under its lock, if `still` holds there. None when it no longer does."""
    with transaction.atomic():
        if made is None:
            account_id = NextHop.objects.values_list("route__account_id", flat=True).get(pk=hop_id)
            with decision(account_id, SCHEDULER, now=now) as opened:
                return move(hop_id, event, now, made=opened, still=still)
        (row,) = locked([hop_id])
        if not still(row):
            return None
        before = hop_of(row)
        after = rules.advance(before, event, now, limits_of(row.route))
        put(row, after)
        row.save()
        record_transition(made, row, before, after)
        return after


def finish_drains(now: datetime) -> dict[int, rules.Hop]:
    """Next hops whose backlog has been tried are up again. Returns those that moved."""
    state = NextHop.State
    draining = NextHop.objects.filter(Q(state=state.RECOVERING) | Q(state=state.DOWN, canary_successes__gt=0))
    moved = {}
    for row in draining:
        if not backlog_left(row, now):
            after = move(row.pk, rules.Drained(), now, still=lambda locked: not backlog_left(locked, now))
            if after:
                moved[row.pk] = after
    return moved


def backlog_left(row: NextHop, now: datetime) -> bool:
    """Something waits, or is being sent, that should go before the hop counts as drained."""
    soon = now + rules.THROTTLED_RETRY if row.state == NextHop.State.RECOVERING else now
    backlog = Recipient.objects.filter(next_hop=row).filter(
        Q(state=Recipient.State.QUEUED, next_attempt_at__lte=soon) | Q(state=Recipient.State.SENDING)
    )
    if row.backlog_before:
        backlog = backlog.filter(accepted_at__lt=row.backlog_before)
    return backlog.exists()
