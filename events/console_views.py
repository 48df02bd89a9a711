"""Continuity events in the console: the list, and one event with its timeline and figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.models import AuditEntry, Contact
from delivery.charts import queue_chart
from delivery.reads import balance, queue_history
from events import rules
from events.books import span
from events.chain import told_by
from events.models import ContinuityEvent
from events.services import escalation
from monitoring.models import Monitor, Outage
from notifications.models import Notification

AFTERWARDS = timedelta(hours=12)
"""So long after its end an event's picture goes on, for its queue to drain."""
PAGE = 50
MOST = 500


@require_GET
@account_required
def events(request: ConsoleRequest) -> HttpResponse:
    """Continuity events and outages, the newest first."""
    found = ContinuityEvent.objects.filter(account=request.account).order_by("-starts_at", "-pk")
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 18:
        last = found.filter(pk=int(before)).first()
        found = found.filter(starts_at__lt=last.starts_at) if last else found
    rows = list(found[: PAGE + 1])
    outages = Outage.objects.filter(account=request.account).select_related("monitor")
    return render(
        request,
        "events/list.html",
        {
            "now": timezone.now(),
            "events": rows[:PAGE],
            "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
            "outages": list(outages.order_by("-opened_at")[:20]),
        },
    )


@require_GET
@account_required
def event(request: ConsoleRequest, pk: int) -> HttpResponse:
    """One event: how long, what happened, what became of the mail."""
    found = get_object_or_404(ContinuityEvent, pk=pk, account=request.account)
    now = timezone.now()
    end = found.ended_at or min(found.ends_at, now)
    outages = Outage.objects.filter(
        Q(closed_at=None) | Q(closed_at__gte=found.starts_at), account=request.account, opened_at__lte=end
    ).select_related("monitor")
    lines = list(outages.order_by("failing_since"))
    start = min([found.starts_at, *(one.failing_since for one in lines)])
    mail = span(found, now)
    return render(
        request,
        "events/detail.html",
        {
            "event": found,
            "active": found.is_active(now),
            "end": end,
            "length": end - found.starts_at,
            "outages": lines,
            "timeline": timeline(request.account.pk, start, end),
            "mail": mail,
            "books": balance(mail.scope(request.account.pk)),
            "told": told(request.account.pk, start, end),
            "depth": queue_chart(queue_history(request.account.pk, start, min(end + AFTERWARDS, now))),
        },
    )


@dataclass(frozen=True)
class Moment:
    """One line of a timeline: a decision, or an alert that went out. `colour` is a state class."""

    at: datetime
    entry: AuditEntry | None = None
    alert: Notification | None = None


def timeline(account_id: int, start: datetime, end: datetime) -> list[Moment]:
    """What was decided and who was told in `[start, end]`, the earliest first; two queries.

    That an alert was decided is left out: the alert itself is there, with what became of it.
    """
    entries = AuditEntry.objects.filter(account_id=account_id, at__gte=start, at__lte=end)
    entries = entries.exclude(action__in=("alert.decided", "alert.recovery"))
    alerts = Notification.objects.filter(
        account_id=account_id, created_at__gte=start, created_at__lte=end
    ).select_related("contact")
    moments = [Moment(entry.at, entry=entry) for entry in entries.order_by("number")[:MOST]]
    moments += [Moment(one.created_at, alert=one) for one in alerts.order_by("created_at", "pk")[:MOST]]
    return sorted(moments, key=lambda moment: moment.at)


def told(account_id: int, start: datetime, end: datetime) -> int:
    """How many contacts got a notification decided in `[start, end]`."""
    sent = (Notification.State.SENT, Notification.State.DELIVERED)
    notifications = Notification.objects.filter(
        account_id=account_id, created_at__gte=start, created_at__lte=end, state__in=sent
    )
    return notifications.values("contact").distinct().count()


@require_http_methods(["GET", "POST"])
@administrator_required
def steps(request: ConsoleRequest, pk: int) -> HttpResponse:
    """At which step each contact of a monitor is told."""
    monitor = get_object_or_404(Monitor.objects.select_related("account"), pk=pk, account=request.account)
    contacts = told_by(monitor)
    known = escalation.steps_of([monitor.pk])
    form = StepsForm(contacts, known=known, monitor=monitor, data=request.POST or None)
    if request.method == "POST" and form.is_valid():

        def save() -> str:
            chosen = {contact: form.step(contact) for contact in contacts}
            escalation.set_steps(monitor, actor(request), chosen, request_key=request_key(request))
            return _("The steps were saved.")

        return carry_out(request, save, reverse("monitor", args=[monitor.pk]))
    context = {"monitor": monitor, "form": form, "wait": escalation.step_wait(request.account.pk)}
    return render(request, "events/steps.html", context)


class StepsForm(forms.Form):
    """A step for each contact."""

    def __init__(
        self, contacts: list[Contact], *, known: dict[tuple[int, int], int], monitor: Monitor, data: Any
    ) -> None:
        super().__init__(data)
        choices = [(1, _("1, at once"))] + [(step, str(step)) for step in rules.STEPS[1:]]
        for contact in contacts:
            self.fields[f"step-{contact.pk}"] = forms.TypedChoiceField(
                label=contact.name,
                choices=choices,
                coerce=int,
                initial=known.get((monitor.pk, contact.pk), 1),
            )

    def step(self, contact: Contact) -> int:
        """What was chosen for a contact."""
        return int(self.cleaned_data[f"step-{contact.pk}"])
