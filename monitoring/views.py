"""The list of monitors, and what changes them. The page of one is in `events.monitor_page`."""

from __future__ import annotations

from django.db.models import Min, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
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
from accounts.models import Account
from accounts.services import Refused
from monitoring.forms import MonitorForm, ThresholdForm
from monitoring.models import Monitor


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
