"""Known recipients of a domain: looked up, added, removed, imported after a preview, exported."""

from __future__ import annotations

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
from accounts.csv_files import MOST_LINES, Unreadable
from accounts.csv_pages import ENCODINGS, SEPARATORS, csv_response, unreadable_words, uploaded
from accounts.models import MailDomain, Person
from accounts.services import AlreadyDone, Refused
from delivery.models import KnownRecipient, RecipientImport
from delivery.recipients_import import Why
from delivery.services import recipients as service

PAGE = 50
State = RecipientImport.State
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
    return csv_response(f"recipients-{domain.name}.csv", ["address", "source"], rows)


@require_POST
@administrator_required
def upload(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Read a file and show what importing it would do."""
    domain = _domain(request, pk)
    try:
        name, data = uploaded(request)
        row = service.preview(domain, actor(request), name, data, timezone.now())
    except Refused as refused:
        messages.warning(request, str(refused))
        return redirect("recipients", pk)
    except Unreadable as told:
        messages.warning(request, unreadable_words(told))
        return redirect("recipients", pk)
    return redirect("recipients-import-one", pk, row.pk)


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
