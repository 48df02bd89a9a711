"""What the state line and the dashboard say, asked once per page. Times are aware UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Min, Q
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from accounts.models import Account, AuditEntry, Contact, User
from delivery.models import NextHop, Recipient, Route
from delivery.reads import RouteQueue, pause_state, queue_by_route
from delivery.reads.queue import WORST_FIRST
from events.chain import Rung, chains
from events.checklist_reads import Left
from events.models import ContinuityEvent
from monitoring.models import Monitor, Outage
from monitoring.reads import is_failing
from notifications.models import Notification, Suspension
from notifications.reads import Reachability


@dataclass(frozen=True)
class Flow:
    """Whether inbound mail flows: the pause first, else the worst state of the account's mail servers."""

    state: str
    word: str
    since: datetime | None
    by: str = ""

    @property
    def held(self) -> bool:
        """Whether somebody paused the deliveries, done or still under way."""
        return self.state in ("pausing", "paused")


def flow(account: Account, routes: list[RouteQueue], now: datetime) -> Flow:
    """What `routes` (as `queue_by_route` tells them) and the pause come to."""
    pause = pause_state(account.pk, now)
    if pause.mode != "flowing":
        word = _("Pausing") if pause.mode == "pausing" else _("Paused")
        return Flow(pause.mode, word, pause.since, pause.by)
    inbound = [route for route in routes if route.kind == Route.Kind.INBOUND]
    worst = min(inbound, key=lambda route: WORST_FIRST.index(NextHop.State(route.state)), default=None)
    if worst is None:
        return Flow("up", _("No route yet"), None)
    if worst.state == NextHop.State.UP and is_failing(account.pk):
        # Noticed by probes: no mail has come since that could have been refused.
        return Flow(NextHop.State.DOWN, str(NextHop.State.DOWN.label), None)
    return Flow(worst.state, str(NextHop.State(worst.state).label), worst.state_since)


def drained(account: Account) -> int:
    """How much of the backlog of recovering mail servers was delivered since they are back, by recipient."""
    return Recipient.objects.filter(
        next_hop__in=NextHop.objects.filter(route__account=account, state=NextHop.State.RECOVERING).values(
            "pk"
        ),
        state=Recipient.State.DELIVERED,
        final_at__gte=F("next_hop__state_since"),
        accepted_at__lt=F("next_hop__backlog_before"),
    ).count()


def active_event(account: Account, now: datetime) -> ContinuityEvent | None:
    """The event that makes continuity mode Active at `now`, by the clock."""
    return ContinuityEvent.objects.active(now).for_everyone().filter(account=account).first()


def monitors(account: Account, contacts: list[Reachability]) -> list[Monitor]:
    """The monitors, with who is `told`; `open_since` is set while an outage is open."""
    found = (
        Monitor.objects.filter(account=account)
        .select_related("route")
        .annotate(open_since=Min("outages__failing_since", filter=Q(outages__closed_at=None)))
        .order_by("description")
    )
    watching = list(found)
    rungs = chains(account, watching, contacts)
    for monitor in watching:
        monitor.told = told_sentence(rungs[monitor.pk])  # type: ignore[attr-defined]
    return watching


def told_sentence(rungs: list[Rung]) -> str:
    """Who is told, and when, in one line."""
    parts = []
    for rung in rungs:
        names = ", ".join(one.contact.name for one in rung.contacts)
        minutes = rung.after // timedelta(minutes=1)
        after = _("%(names)s after %(minutes)s min") % {"names": names, "minutes": minutes}
        parts.append(after if minutes else _("%(names)s at once") % {"names": names})
    return _("Told: %s") % "; ".join(parts) if parts else _("Nobody is told")


def open_outages(account: Account) -> list[Outage]:
    """Outages that last, the oldest first."""
    found = Outage.objects.filter(account=account, closed_at=None).select_related("monitor")
    return list(found.order_by("failing_since"))


def suspensions(account: Account, now: datetime) -> list[Suspension]:
    """Who is silenced until when."""
    found = Suspension.objects.filter(account=account, until__gt=now).select_related("contact")
    return list(found.order_by("until"))


def own_contact(contacts: list[Reachability], user: User) -> Contact | None:
    """The contact as whom a user is alerted, if they are."""
    own = (one.contact for one in contacts if one.contact.user_id == user.pk and one.contact.active)
    return next(own, None)


def latest_alerts(account: Account, limit: int = 5) -> list[Notification]:
    """The newest notifications with their contacts."""
    found = Notification.objects.filter(account=account).select_related("contact")
    return list(found.order_by("-created_at", "-pk")[:limit])


def latest_history(account: Account, limit: int = 6) -> list[AuditEntry]:
    """The newest decisions, the newest first; alerts have a list of their own."""
    found = AuditEntry.objects.filter(account=account).exclude(action__startswith="alert.")
    return list(found.order_by("-number")[:limit])


@dataclass(frozen=True)
class Part:
    """One part of the state line: what, in which state, and where something can be done about it."""

    label: str
    word: str
    colour: str
    url: str
    until: datetime | None = None
    oldest: datetime | None = None
    more: str = ""


def state_line(
    account: Account, now: datetime, dashboard: str, queue_page: str, checklists: list[Left]
) -> list[Part]:
    """Continuity mode, deliveries, queue and open checklists, in the words of the top of every page."""
    event, routes = active_event(account, now), queue_by_route(account.pk)
    flowing = flow(account, routes, now)
    queued = sum(route.queued for route in routes)
    oldest = min((route.oldest for route in routes if route.oldest), default=None)
    colours = {"up": "green", "down": "red"}
    parts = [
        Part(
            _("Continuity mode"),
            _("Active") if event else _("Inactive"),
            "blue" if event else "grey",
            f"{dashboard}#mode",
            until=event.ends_at if event else None,
        ),
        Part(
            _("Deliveries"),
            flowing.word,
            colours.get(flowing.state, "amber"),
            f"{dashboard}#deliveries",
            more=_("by %(name)s") % {"name": flowing.by} if flowing.held else "",
        ),
        Part(
            _("Queued"),
            number_format(queued, force_grouping=True),
            "amber" if queued and flowing.state != "up" else "grey",
            f"{queue_page}?state=waiting",
            oldest=oldest,
        ),
    ]
    if checklists:
        todo = sum(len(one.items) for one in checklists)
        word = _("%(n)d to do") % {"n": todo}
        parts.append(Part(_("Checklist"), word, "amber", reverse("checklist", args=[checklists[0].event_id])))
    return parts
