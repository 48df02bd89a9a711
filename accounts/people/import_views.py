"""Pages of an import of people: a file is chosen, looked at, decided on, watched."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import ConsoleRequest, actor, administrator_required, request_key
from accounts.csv_files import MOST_LINES, Unreadable
from accounts.csv_pages import ENCODINGS, SEPARATORS, csv_response, unreadable_words, uploaded
from accounts.people import importing
from accounts.people.forms import UploadForm
from accounts.people.models import PersonImport
from accounts.services import AlreadyDone, Refused

State = PersonImport.State
FIELDS = {
    "name": gettext_lazy("Name"),
    "alternate": gettext_lazy("Alternate e-mail"),
    "phone": gettext_lazy("Phone"),
    "groups": gettext_lazy("Groups"),
}


@require_http_methods(["GET", "POST"])
@administrator_required
def imports(request: ConsoleRequest) -> HttpResponse:
    """Upload a file, and see the latest ones."""
    mine = PersonImport.objects.filter(account=request.account).defer("content", "facts").order_by("-pk")
    last = list(mine[:5])
    form = UploadForm(request.POST or None, initial={"country": last[0].country if last else ""})
    if request.method == "POST" and form.is_valid():
        try:
            name, data = uploaded(request)
            country = form.cleaned_data["country"]
            row = importing.upload(request.account, actor(request), name, data, country, timezone.now())
        except Refused as refused:
            messages.warning(request, str(refused))
        except Unreadable as told:
            messages.warning(request, unreadable_words(told))
        else:
            return redirect("people-import", row.pk)
    context = {"form": form, "imports": last, "most_lines": MOST_LINES}
    return render(request, "accounts/people_imports.html", context)


@require_http_methods(["GET", "POST"])
@administrator_required
def one_import(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    """A preview to decide on, an import on its way, or what became of it."""
    row = _import(request, pk)
    if request.method == "POST":
        return _decide(request, row)
    now, facts = timezone.now(), row.facts
    interrupted = row.interrupted(now)
    changes = [
        (line, address, kind, [(FIELDS[field], before, after) for field, before, after in words])
        for line, address, kind, words in facts.get("shown_changes", [])
    ]
    context: dict[str, Any] = {
        "row": row,
        "facts": facts,
        "parts": row.parts.count() if row.state == State.RUNNING else 0,
        "encoding": ENCODINGS.get(facts.get("encoding", ""), ""),
        "separator": SEPARATORS.get(facts.get("separator", ""), ""),
        "headings": ", ".join(facts.get("headings", {}).values()),
        "changes": changes,
        "too_old": row.state == State.PREVIEW and now > row.until,
        "interrupted": interrupted,
        "live": row.busy and not interrupted,
        "other_changes": facts.get("new", 0) + facts.get("changed", 0) - len(changes),
    }
    if row.state == State.UNREADABLE:
        context["unreadable"] = unreadable_words(Unreadable(facts["why"], facts["line"]))
    return render(request, "accounts/people_import.html", context)


def _decide(request: ConsoleRequest, row: PersonImport) -> HttpResponse:
    try:
        if "carry_on" in request.POST:
            importing.carry_on(row, timezone.now())
        elif "discard" in request.POST:
            importing.discard(row)
            messages.success(request, _("Nothing was imported."))
            return redirect("people-imports")
        else:
            remove = request.POST.get("how") == "replace"
            importing.confirm(row, actor(request), remove_missing=remove, request_key=request_key(request))
    except AlreadyDone:
        pass
    except Refused as refused:
        messages.warning(request, str(refused))
    return redirect("people-import", row.pk)


@require_GET
@administrator_required
def errors(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    """All lines in error as CSV: their number, what stands there, and why."""
    row = _import(request, pk)
    return csv_response(f"errors-{row.pk}.csv", ["line", "text", "error"], importing.errors_of(row))


def _import(request: ConsoleRequest, pk: int) -> PersonImport:
    return get_object_or_404(PersonImport.objects.defer("content"), pk=pk, account=request.account)
