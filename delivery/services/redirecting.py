"""Waiting mail is sent another way: over another route of its account."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import connection
from django.utils.translation import gettext as _

from accounts.services import Actor, Refused, decision
from delivery.models import Recipient, Route
from delivery.services.hops import domain_of, next_hops

BATCH = 500  # recipients a statement
MOVABLE = (Recipient.State.QUEUED, Recipient.State.HELD, Recipient.State.QUARANTINED)


def redirect(
    recipient_ids: Iterable[int],
    route: Route,
    actor: Actor,
    reason: str,
    *,
    request_key: str | None = None,
    now: datetime | None = None,
) -> int:
    """Send these recipients of the route's account by this route, as one decision; returns how many moved.

    What is being sent now or is final stays as it is. Raises Refused, AlreadyDone.
    """
    with decision(route.account_id, actor, request_key=request_key, now=now) as made:
        moved = 0
        wanted = sorted(set(recipient_ids))
        for start in range(0, len(wanted), BATCH):
            moved += len(redirect_batch(wanted[start : start + BATCH], route, made.now))
        if not moved:
            raise Refused(_("None of these recipients waits on another route."))
        made.record(
            "mail.redirected", subject=f"route:{route.pk}", after=route.name, reason=reason, number=moved
        )
        return moved


def redirect_batch(recipient_ids: Collection[int], route: Route, now: datetime) -> dict[int, int]:
    """Move waiting recipients to the route; returns the next hop that each of those moved had before.

    Inside the caller's transaction. The queued ones are tried at once.
    """
    waiting = (
        Recipient.objects.filter(
            pk__in=recipient_ids, state__in=MOVABLE, next_hop__route__account=route.account_id
        )
        .exclude(next_hop__route=route)
        .order_by("pk")
    )
    if connection.features.has_select_for_update:
        waiting = waiting.select_for_update(no_key=True, of=("self",))
    found = list(waiting.values_list("pk", "address", "next_hop_id"))
    outbound = route.kind == Route.Kind.OUTBOUND
    by_domain: dict[str, list[int]] = {}
    for pk, address, _before in found:
        by_domain.setdefault(domain_of(address) if outbound else "", []).append(pk)
    hops = next_hops({(route.pk, domain) for domain in by_domain}, now)
    for domain, moving in by_domain.items():
        hop_id = hops[route.pk, domain]
        rows = Recipient.objects.filter(pk__in=moving)
        rows.filter(state=Recipient.State.QUEUED).update(next_hop_id=hop_id, next_attempt_at=now)
        rows.exclude(state=Recipient.State.QUEUED).update(next_hop_id=hop_id)
    return {pk: before for pk, _address, before in found}
