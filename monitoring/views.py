"""The list of monitors, and what changes them. The page of one is in `events.monitor_page`."""

from __future__ import annotations

from itertools import groupby

from django.db.models import Min, Q
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.changes import save_settings
from accounts.models import Account, AuditEntry
from accounts.services import Refused
from monitoring import services
from monitoring.asked import shown
from monitoring.forms import MonitorForm, ThresholdForm
from monitoring.models import Monitor, Probe


def _monitors(account: Account) -> list[Monitor]:
    found = (
        Monitor.objects.filter(account=account)
        .select_related("route")
        .prefetch_related("contacts")
        .annotate(open_since=Min("outages__failing_since", filter=Q(outages__closed_at=None)))
    )
    return list(found.order_by("description"))


@require_GET
@account_required
def monitors(request: ConsoleRequest) -> HttpResponse:
    """All monitors of the account."""
    return render(request, "monitoring/list.html", {"monitors": _monitors(request.account)})


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Add a monitor, change one, or switch it off."""
    found = get_object_or_404(Monitor, pk=pk, account=request.account) if pk else None
    initial = {} if found else {"time_zone": request.account.time_zone}
    form = MonitorForm(request.account, request.POST or None, instance=found, initial=initial)
    if request.method == "POST" and form.is_valid():

        def save() -> str:
            save_settings(request.account, actor(request), form, request_key=request_key(request))
            return _("The monitor was saved.")

        return carry_out(request, save, "monitors")
    return render(request, "monitoring/edit.html", {"form": form, "monitor": found})


@require_POST
@administrator_required
def threshold(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Set the threshold that the monitor's page recommends, or another one."""
    found = get_object_or_404(Monitor, pk=pk, account=request.account)
    form = ThresholdForm(request.account, request.POST, instance=found)

    def save() -> str:
        if not form.is_valid():
            raise Refused(_("The threshold is a number from 1 to 60."))
        save_settings(request.account, actor(request), form, request_key=request_key(request))
        return _("An outage now opens at %(threshold)s.") % {"threshold": found.threshold}

    return carry_out(request, save, "monitors")


TESTS_SHOWN = 20


@require_http_methods(["GET", "POST"])
@account_required
def test(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    """The latest test of a monitor, live while it runs, and the ones before it."""
    if request.method == "POST":
        return _start_test(request, pk=pk)
    found = get_object_or_404(Monitor.objects.select_related("route", "sink"), pk=pk, account=request.account)
    now = timezone.now()
    asked_by = {
        entry.details["test"]: entry.actor_name
        for entry in AuditEntry.objects.filter(
            account=request.account, subject=f"monitor:{pk}", action="monitor.tested"
        ).order_by("-number")[:TESTS_SHOWN]
    }
    rows = found.probes.filter(kind__in=Probe.TESTS).order_by("-window_start", "kind")[: 2 * TESTS_SHOWN]
    tests = [
        (asked, asked_by.get(asked.isoformat(), ""), [shown(probe, found, now) for probe in probes])
        for asked, probes in groupby(rows, key=lambda probe: probe.window_start)
    ]
    context = {
        "monitor": found,
        "latest": tests[0] if tests else None,
        "earlier": tests[1:TESTS_SHOWN],
        "open": any(one.state == "open" for one in tests[0][2]) if tests else False,
        "running": any(services.unfinished(one.probe, now) for one in tests[0][2]) if tests else False,
    }
    return render(request, "monitoring/test.html", context)


@administrator_required
def _start_test(request: ConsoleRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(Monitor, pk=pk, account=request.account)

    def start() -> str:
        services.start_test(found, actor(request), request_key=request_key(request))
        return _("The test was started.")

    return carry_out(request, start, "monitors")
