"""Saving a route and its hosts as one audited decision."""

from __future__ import annotations

from typing import Any

from accounts.forms import AccountForm
from accounts.models import Account
from accounts.services import Actor, decision
from delivery.models import Route
from delivery.services.accepting import ensure_next_hop
from delivery.services.bouncing import look_again


def settings_route(
    account: Account, actor: Actor, form: AccountForm[Route], hosts: Any, *, request_key: str | None = None
) -> Route:
    """Save a valid route form and its valid hosts, all or nothing. Raises AlreadyDone."""
    changes, new = form.changes(), form.instance.pk is None
    with decision(account.pk, actor, request_key=request_key) as decided:
        route = form.save()
        hosts.instance = route
        hosts.save()
        if route.kind == Route.Kind.INBOUND:
            ensure_next_hop(route)
        else:
            look_again(account.pk, decided.now)
        decided.record(
            "settings.added" if new else "settings.changed",
            subject=f"route:{route.pk}",
            after=route.name,
            changes=changes,
            hosts=[str(host) for host in route.hosts.all()],
        )
    return route
