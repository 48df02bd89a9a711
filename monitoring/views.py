"""The monitors, and why one alerted: counter, windows with their evidence, outages."""

from __future__ import annotations

from django.db.models import Min, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
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
from accounts.changes import save_settings
from accounts.models import Account
from monitoring.forms import MonitorForm
from monitoring.models import Monitor
from monitoring.reads import evidence_sentence

WINDOWS = 30
OUTAGES = 20


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


@require_GET
@account_required
def monitor(request: ConsoleRequest, pk: int) -> HttpResponse:
    """One monitor: the answer to "why do I get this message several times a day?"."""
    found = get_object_or_404(
        Monitor.objects.select_related("route", "account").annotate(
            open_since=Min("outages__failing_since", filter=Q(outages__closed_at=None))
        ),
        pk=pk,
        account=request.account,
    )
    windows = list(found.windows.order_by("-end")[:WINDOWS])
    for window in windows:
        window.sentence = evidence_sentence(window)  # type: ignore[attr-defined]
    outages = found.outages.prefetch_related("alert_streams__contact").order_by("-opened_at")
    return render(
        request,
        "monitoring/detail.html",
        {
            "monitor": found,
            "windows": windows,
            "outages": list(outages[:OUTAGES]),
            "opens_after": found.threshold * found.window_seconds,
            "half": found.threshold // 2,
        },
    )


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
