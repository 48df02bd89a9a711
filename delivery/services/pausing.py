"""Inbound deliveries of an account are held back, and flow again. Nothing expires meanwhile."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from accounts.services import Actor, Refused, decision
from delivery import rules
from delivery.models import NextHop, Pause, Recipient, Route
from delivery.services.hops import move


def pause(
    account_id: int,
    actor: Actor,
    *,
    reason: str = "",
    request_key: str | None = None,
    now: datetime | None = None,
) -> Pause:
    """Hold inbound deliveries; what is in flight finishes. Raises Refused when they are paused already."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        if Pause.objects.filter(account_id=account_id, ended_at=None).exists():
            raise Refused(_("Inbound deliveries are paused already."))
        started = Pause.objects.create(
            account_id=account_id, started_at=made.now, started_by=actor.name, reason=reason
        )
        made.record(
            "pause.started", subject=f"pause:{started.pk}", before="flowing", after="paused", reason=reason
        )
        return started


def resume(
    account_id: int,
    actor: Actor,
    *,
    reason: str = "",
    request_key: str | None = None,
    now: datetime | None = None,
) -> Pause:
    """Let inbound deliveries flow; a backlog drains as in recovery. Raises Refused when not paused."""
    with decision(account_id, actor, request_key=request_key, now=now) as made:
        ended = Pause.objects.filter(account_id=account_id, ended_at=None).first()
        if ended is None:
            raise Refused(_("Inbound deliveries are not paused."))
        ended.ended_at, ended.ended_by = max(made.now, ended.started_at), actor.name
        ended.save(update_fields=["ended_at", "ended_by"])
        made.record(
            "pause.ended", subject=f"pause:{ended.pk}", before="paused", after="flowing", reason=reason
        )
        for hop_id in _with_backlog(account_id, made.now):
            move(hop_id, rules.Held(), made.now, made=made)
        return ended


def _with_backlog(account_id: int, now: datetime) -> list[int]:
    hops = NextHop.objects.filter(route__account_id=account_id, route__kind=Route.Kind.INBOUND).order_by("pk")
    return [hop.pk for hop in hops if Recipient.objects.due(hop.pk, now).exists()]
