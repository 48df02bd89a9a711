"""Pages of people and groups: added, changed, removed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import ConsoleRequest, actor, administrator_required, request_key
from accounts.changes import delete_settings, save_settings
from accounts.csv_pages import csv_response
from accounts.forms import AccountForm
from accounts.models import Group, Person
from accounts.people.exporting import export_rows
from accounts.people.forms import GroupForm, PersonForm
from accounts.people.reading import EXPORTED
from accounts.services import AlreadyDone


@require_http_methods(["GET", "POST"])
@administrator_required
def person(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Add, change or remove a person."""
    found = get_object_or_404(Person, pk=pk, account=request.account) if pk else None
    form = PersonForm(request.account, request.POST or None, instance=found)
    return _edit(request, form, found, _("Add a person"))


@require_http_methods(["GET", "POST"])
@administrator_required
def group(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Add, rename or remove a group. Its people stay."""
    groups = Group.objects.filter(account=request.account).annotate(number=Count("people"))
    found = get_object_or_404(groups, pk=pk) if pk else None
    form = GroupForm(request.account, request.POST or None, instance=found)
    return _edit(request, form, found, _("Add a group"))


def _edit(
    request: ConsoleRequest, form: AccountForm[Any], found: Person | Group | None, adding: str
) -> HttpResponse:
    key = request_key(request)
    try:
        if request.method == "POST" and "remove" in request.POST and found:
            delete_settings(request.account, actor(request), found, request_key=key)
            messages.success(request, _("%(row)s was removed.") % {"row": found})
            return redirect("people")
        if request.method == "POST" and form.is_valid():
            save_settings(request.account, actor(request), form, request_key=key)
            messages.success(request, _("Saved."))
            return redirect("people")
    except AlreadyDone:
        return redirect("people")
    title = str(found.name) if found else adding
    context = {"form": form, "title": title, "found": found, "warning": _warning(found)}
    context["personal"] = isinstance(found, Person)
    return render(request, "accounts/person.html", context)


def _warning(found: Person | Group | None) -> str:
    if isinstance(found, Group):
        number: int = found.number  # type: ignore[attr-defined]
        return ngettext(
            "%(n)s person is in this group and stays. Notices that are not sent yet lose it.",
            "%(n)s people are in this group and stay. Notices that are not sent yet lose it.",
            number,
        ) % {"n": number}
    return _("Mail to this mailbox is refused from then on, unless the address is known otherwise.")


@require_GET
@administrator_required
def export(request: ConsoleRequest) -> HttpResponseBase:
    """Everybody as CSV, in the form that the import reads."""
    name = f"people-{request.account.slug}.csv"
    return csv_response(name, EXPORTED, export_rows(request.account.pk))
