"""Support calls: taken down while on the phone, listed, settled. For support staff as for administrators."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import ConsoleRequest, account_required, actor, carry_out, request_key
from events.call_forms import CallFilter, CallForm
from events.models import ContinuityEvent, SupportCall
from events.services import calls as services

PAGE = 50


@require_http_methods(["GET", "POST"])
@account_required
def calls(request: ConsoleRequest) -> HttpResponse:
    """The form for the call that is coming in, and the calls there were."""
    shown = CallFilter(request.GET)
    found = shown.calls(request.account)
    event = shown.cleaned_data.get("of") if shown.is_valid() else None
    if request.method == "POST":
        form = CallForm(request.account, request.POST)
        if form.is_valid():
            return carry_out(request, lambda: _log(request, form), reverse("calls"))
    else:
        form = CallForm(request.account, event=event)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        found = found.filter(pk__lt=int(before))
    rows = list(found[: PAGE + 1])
    of = ContinuityEvent.objects.filter(pk=event, account=request.account).first() if event else None
    context = {
        "form": form,
        "filter": shown,
        "filtered": any(request.GET.get(name) for name in shown.fields),
        "of": of,
        "calls": rows[:PAGE],
        "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
    }
    return render(request, "events/calls.html", context)


def _log(request: ConsoleRequest, form: CallForm) -> str:
    said = form.cleaned_data
    call = services.log(
        request.account.pk,
        actor(request),
        name=said["who"],
        what=said["what"],
        person=form.found,
        event=said["event"],
        settled=said["settled"],
        request_key=request_key(request),
    )
    return _("The call of %(name)s was logged.") % {"name": call.name}


@require_POST
@account_required
def act(request: ConsoleRequest, pk: int, action: str) -> HttpResponse:
    """Settle a call or open it again."""
    call = get_object_or_404(SupportCall, pk=pk, account=request.account)
    if action not in ("settle", "reopen"):
        raise Http404

    def do() -> str:
        change = services.settle if action == "settle" else services.reopen
        change(request.account.pk, actor(request), call.pk, request_key=request_key(request))
        said = (
            _("The call of %(name)s is settled.")
            if action == "settle"
            else _("The call of %(name)s is open again.")
        )
        return said % {"name": call.name}

    return carry_out(request, do, reverse("calls"))
