"""Known recipients of a domain: looked up, added, removed, imported after a preview, exported."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.models import MailDomain, Person
from accounts.services import AlreadyDone, Refused
from delivery.models import KnownRecipient, RecipientImport
from delivery.recipients_import import MOST_BYTES, MOST_LINES, Unreadable, Why
from delivery.services import recipients as service

PAGE = 50
State = RecipientImport.State
ENCODINGS = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "cp1252": "Windows-1252"}
SEPARATORS = {
    ",": gettext_lazy("comma"),
    ";": gettext_lazy("semicolon"),
    "\t": gettext_lazy("tab"),
    "|": gettext_lazy("bar"),
}
REASONS = {
    Why.NO_ADDRESS: gettext_lazy("no address"),
    Why.INVALID: gettext_lazy("not a valid address"),
    Why.OTHER_DOMAIN: gettext_lazy("of another domain"),
}


class Lookup(forms.Form):
    """What is looked for. Sent by GET, so that the result has an address."""

    q = forms.CharField(label=gettext_lazy("Address contains"), required=False, max_length=320)
    source = forms.ChoiceField(
        label=gettext_lazy("Source"),
        required=False,
        choices=[("", gettext_lazy("All")), *KnownRecipient.Source.choices],
    )


@require_GET
@account_required
def recipients(request: ConsoleRequest, pk: int) -> HttpResponse:
    """The known recipients of a domain, by address, a page at a time."""
    domain = _domain(request, pk)
    form = Lookup(request.GET, auto_id="filter-%s")
    found = KnownRecipient.objects.filter(domain=domain).order_by("address")
    wanted = form.cleaned_data if form.is_valid() else {}
    if wanted.get("q"):
        found = found.filter(address__contains=wanted["q"].strip().lower())
    if wanted.get("source"):
        found = found.filter(source=wanted["source"])
    if after := request.GET.get("after", "")[:320].replace("\0", ""):
        found = found.filter(address__gt=after)
    rows = list(found[: PAGE + 1])
    counts = service.counts(domain)
    context = {
        "domain": domain,
        "form": form,
        "rows": rows[:PAGE],
        "next": rows[PAGE - 1].address if len(rows) > PAGE else "",
        "after": after,
        "filtered": any(wanted.values()),
        "counts": [(KnownRecipient.Source(source).label, number) for source, number in counts.items()],
        "known": sum(counts.values()),
        "people": Person.objects.filter(account=request.account, address__endswith=f"@{domain.name}").count(),
        "imports": list(domain.recipient_imports.defer("addresses", "facts").order_by("-pk")[:5]),
        "now": timezone.now(),
        "most_lines": MOST_LINES,
    }
    return render(request, "delivery/recipients.html", context)


@require_POST
@administrator_required
def add(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Make one address known."""
    domain = _domain(request, pk)

    def act() -> str:
        address = request.POST.get("address", "")[:400]
        row = service.add(domain, actor(request), address, request_key=request_key(request))
        return _("%(address)s is known from now on.") % {"address": row.address}

    return carry_out(request, act)


@require_POST
@administrator_required
def remove(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Forget one address."""
    domain = _domain(request, pk)
    number = request.POST.get("recipient", "")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise Http404

    def act() -> str:
        gone = service.remove(domain, actor(request), int(number), request_key=request_key(request))
        return _("%(address)s is not known any more.") % {"address": gone}

    return carry_out(request, act)


@require_GET
@administrator_required
def export(request: ConsoleRequest, pk: int) -> StreamingHttpResponse:
    """All known recipients of a domain as CSV, in the form that the import reads."""
    domain = _domain(request, pk)
    found = KnownRecipient.objects.filter(domain=domain).order_by("address")
    rows = found.values_list("address", "source").iterator(chunk_size=2000)
    response = StreamingHttpResponse(_csv(rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="recipients-{domain.name}.csv"'
    return response


class _Line:
    """What csv.writer writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def _csv(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow(["address", "source"])  # the mark tells spreadsheets that it is UTF-8
    for address, source in rows:
        yield writer.writerow([harmless(address), source])


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; the import takes the apostrophe away again."""
    return f"'{cell}" if cell[:1] in "=+-@\t\r'" else cell


@require_POST
@administrator_required
def upload(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Read a file and show what importing it would do."""
    domain = _domain(request, pk)
    file = request.FILES.get("file")
    if file is None or not file.size:
        messages.warning(request, _("Choose a file first."))
        return redirect("recipients", pk)
    try:
        if file.size > MOST_BYTES:
            raise Unreadable("too_long")
        row = service.preview(domain, actor(request), file.name or "", file.read(), timezone.now())
    except Unreadable as told:
        messages.warning(request, unreadable_words(told))
        return redirect("recipients", pk)
    return redirect("recipients-import-one", pk, row.pk)


def unreadable_words(told: Unreadable) -> str:
    """Why a file cannot be used, and what to do."""
    words = {
        "binary": _("This is not a CSV file. In a spreadsheet, choose “Save as” and CSV, then upload that."),
        "too_long": _("The file has more than %(lines)s lines. Import it in parts.")
        % {"lines": f"{MOST_LINES:,}"},
        "quote": _("The quotation mark that opens in line %(line)s is not closed. Correct that line.")
        % {"line": told.line},
        "empty": _("The file is empty."),
    }
    return words[told.why]


@require_http_methods(["GET", "POST"])
@account_required
def one_import(request: ConsoleRequest, pk: int, number: int) -> HttpResponseBase:
    """A preview to decide on, an import on its way, or what became of it."""
    if request.method == "POST":
        return _decide(request, pk=pk, number=number)
    row = _import(request, pk, number)
    now = timezone.now()
    context: dict[str, Any] = {
        "domain": row.domain,
        "row": row,
        "facts": row.facts,
        "refused": sum(row.facts.get("refused", {}).values()),
        "reasons": [(REASONS[Why(why)], count) for why, count in row.facts.get("refused", {}).items()],
        "shown": [(line, text, REASONS[Why(why)]) for line, text, why in row.facts.get("shown", [])],
        "encoding": ENCODINGS.get(row.facts.get("encoding", ""), ""),
        "separator": SEPARATORS.get(row.facts.get("separator", ""), ""),
        "too_old": row.state == State.PREVIEW and now > row.until,
        "interrupted": row.interrupted(now),
        "running": row.state == State.RUNNING and not row.interrupted(now),
    }
    return render(request, "delivery/recipients_import.html", context)


@administrator_required
def _decide(request: ConsoleRequest, pk: int, number: int) -> HttpResponse:
    row = _import(request, pk, number)
    try:
        if "carry_on" in request.POST:
            service.carry_on(row, timezone.now())
        else:
            replace = request.POST.get("how") == "replace"
            service.confirm(row, actor(request), replace=replace, request_key=request_key(request))
    except AlreadyDone:
        pass
    except Refused as refused:
        messages.warning(request, str(refused))
    else:
        _tell(request, number)
    return redirect("recipients-import-one", pk, number)


def _tell(request: ConsoleRequest, number: int) -> None:
    row = RecipientImport.objects.only("state", "added", "removed").get(pk=number)
    if row.state != State.DONE:
        return
    said = ngettext("%(n)s address was added.", "%(n)s addresses were added.", row.added) % {"n": row.added}
    if row.removed:
        gone = ngettext("%(n)s was removed.", "%(n)s were removed.", row.removed) % {"n": row.removed}
        said = f"{said} {gone}"
    messages.success(request, said)


def _domain(request: ConsoleRequest, pk: int) -> MailDomain:
    return get_object_or_404(MailDomain, pk=pk, account=request.account)


def _import(request: ConsoleRequest, pk: int, number: int) -> RecipientImport:
    found = RecipientImport.objects.defer("addresses").select_related("domain")
    return get_object_or_404(found, pk=number, domain__pk=pk, domain__account=request.account)
