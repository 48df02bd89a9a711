"""The first page, and the actions that stand on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.services import Refused
from continuity_site import overview
from continuity_site.charts import flow_chart
from continuity_site.readiness.reads import readiness
from continuity_site.views.demo import controls
from delivery import services as delivery
from delivery.charts import queue_chart
from delivery.reads import (
    bounces_without_route,
    delivery_rates,
    disk_forecast,
    drain_progress,
    expires_first,
    queue_by_route,
    queue_history,
)
from events import services as events
from events.models import ContinuityEvent
from events.services import escalation
from events.services.suspending import recent
from notifications.reads import reachability

HOURS = (1, 2, 4, 8, 24)
MAX_HOURS = 720


@require_GET
@account_required
def dashboard(request: ConsoleRequest) -> HttpResponse:
    """One screen that says how things are and offers what can be done."""
    account, now = request.account, timezone.now()
    routes = queue_by_route(account.pk)
    flow = overview.flow(account, routes, now)
    drain = drain_progress(account.pk, now)
    outages = overview.open_outages(account)
    people = reachability(account)
    alerted = [one for one in people if one.contact.active]
    return render(
        request,
        "continuity_site/dashboard.html",
        {
            "hours": HOURS,
            "event": overview.active_event(account, now),
            "routes": routes,
            "flow": flow,
            "queued": sum(route.queued for route in routes),
            "oldest": min((route.oldest for route in routes if route.oldest), default=None),
            "first_bounce": expires_first(account.pk, now),
            "bounces_waiting": bounces_without_route(account.pk, now),
            "drain": drain,
            "drained": overview.drained(account) if drain else 0,
            "chart": flow_chart(delivery_rates(account.pk, now)),
            "depth": queue_chart(queue_history(account.pk, now - timedelta(hours=24), now)),
            "disk": disk_forecast(account.pk, now) if flow.held else None,
            "monitors": overview.monitors(account, people),
            "outages": outages,
            "suspensions": overview.suspensions(account, now),
            "alerts": overview.latest_alerts(account),
            "history": overview.latest_history(account),
            "me": overview.own_contact(people, request.user),
            "can_suspend": bool(outages) or recent(account.pk, now).exists(),
            "seen": escalation.all_seen(account.pk, outages),
            "contacts": len(alerted),
            "readiness": readiness(account, now, people),
            "reachable": sum(one.readiness.reached for one in alerted),
            **(controls() if account.is_demo else {}),
        },
    )


@require_POST
@administrator_required
def act(request: ConsoleRequest, action: str) -> HttpResponse:
    """One decision of the signed-in administrator; an unknown one does not exist."""
    if action not in ACTIONS:
        raise Http404
    return carry_out(request, lambda: ACTIONS[action](request))


def _hours(request: ConsoleRequest) -> int:
    """The hours that the form asks for, 1 to 720. Raises Refused."""
    text = request.POST.get("hours", "")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= MAX_HOURS:
        raise Refused(_("Choose for how many hours: 1 to %(most)s.") % {"most": MAX_HOURS})
    return int(text)


def _when(event_end: object) -> str:
    local = timezone.localtime(event_end)  # type: ignore[arg-type]
    return f"{date_format(local, 'j M Y, H:i')} {local.tzname()}"


def _seen(request: ConsoleRequest) -> str:
    events.acknowledge(request.account.pk, actor(request), request_key=request_key(request))
    return _("Noted that you have seen this. Nobody else is woken for this outage.")


def _activate(request: ConsoleRequest) -> str:
    event = events.activate(
        request.account.pk,
        actor(request),
        _hours(request),
        began=ContinuityEvent.Began.CONSOLE,
        request_key=request_key(request),
    )
    return _("Continuity mode activated. It ends %(end)s if not extended.") % {"end": _when(event.ends_at)}


def _extend(request: ConsoleRequest) -> str:
    event = events.extend(
        request.account.pk, actor(request), _hours(request), request_key=request_key(request)
    )
    return _("Continuity mode extended. It now ends %(end)s.") % {"end": _when(event.ends_at)}


def _stop(request: ConsoleRequest) -> str:
    events.stop(request.account.pk, actor(request), request_key=request_key(request))
    return _("Continuity mode was ended.")


def _suspend(request: ConsoleRequest) -> str:
    me = overview.own_contact(reachability(request.account), request.user)
    just_me = request.POST.get("whom") == "me"
    if just_me and me is None:  # not everybody instead
        raise Refused(_("You are not a contact of this account, so nobody alerts you."))
    contact = me if just_me else None
    suspension = events.suspend(
        request.account.pk,
        actor(request),
        _hours(request),
        contact=contact,
        request_key=request_key(request),
    )
    if contact:
        return _("Notifications to you suspended. They restart %(end)s.") % {"end": _when(suspension.until)}
    return _("Notifications suspended. They restart %(end)s.") % {"end": _when(suspension.until)}


def _pause(request: ConsoleRequest) -> str:
    delivery.pause(
        request.account.pk,
        actor(request),
        reason=request.POST.get("reason", "").strip()[:500],
        request_key=request_key(request),
    )
    return _("Inbound deliveries paused. Mail is taken and kept; nothing expires until you resume.")


def _resume(request: ConsoleRequest) -> str:
    delivery.resume(request.account.pk, actor(request), request_key=request_key(request))
    return _("Inbound deliveries resumed. What waited is delivered gradually, the oldest first.")


ACTIONS: dict[str, Callable[[ConsoleRequest], str]] = {
    "seen": _seen,
    "activate": _activate,
    "extend": _extend,
    "stop": _stop,
    "suspend": _suspend,
    "pause": _pause,
    "resume": _resume,
}
