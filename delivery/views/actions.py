"""Doing something to one, many or all: asked once, in the words of what will happen; then its page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    request_key,
)
from accounts.services import AlreadyDone, Refused
from delivery.models import BulkAction, Recipient, Route
from delivery.queue_forms import ActionForm, QueueFilter
from delivery.reads.search import Count, Criteria, Search
from delivery.services import queue_actions
from delivery.views.queue import in_order

SHOWN = 50
CHOSEN = 500  # by check boxes
Kind = BulkAction.Kind


@require_http_methods(["GET", "POST"])
@administrator_required
def act(request: ConsoleRequest) -> HttpResponse:
    """Ask before the action, and do it. What is selected is in the address of the question."""
    sent = request.POST if request.method == "POST" else request.GET
    kind = sent.get("action", "")
    if kind not in Kind.values:
        raise Http404
    form = QueueFilter(request.account, sent)
    criteria = _selected(sent, form)
    if criteria is None:
        messages.info(request, _("Choose at least one message, or all that match."))
        return redirect(_list(form))
    criteria = queue_actions.frozen(criteria)
    question = ActionForm(kind, form.routes, request.POST if request.method == "POST" else None)
    if request.method == "POST" and question.is_valid():
        return _do(request, kind, criteria, question.cleaned_data, _list(form))
    search = Search(request.account.pk, criteria)
    count = search.count(trying=True)
    assert count
    if not count.number and not count.more:
        messages.info(request, _("Nothing matches any more."))
        return redirect(_list(form))
    context = {
        "kind": kind,
        "word": Kind(kind).label,
        "question": question_for(kind, count),
        "danger": kind in (Kind.BOUNCE, Kind.REJECT),
        "form": question,
        "hidden": [("action", kind), ("upto", criteria.upto), *_kept(sent, form)],
        "examples": in_order(search.page(None, limit=5).ids),
        "count": count,
        "back": _list(form),
    }
    return render(request, "delivery/bulk_ask.html", context)


def _selected(sent: QueryDict, form: QueueFilter) -> Criteria | None:
    """By check boxes, or all that match the filter; None when it is nothing."""
    upto = _number(sent.get("upto"))
    if sent.get("all"):
        return replace(form.criteria(timezone.now()), upto=upto) if form.is_valid() else None
    ids = sorted({number for one in sent.getlist("r")[:CHOSEN] if (number := _number(one))})
    return Criteria(ids=tuple(ids), upto=upto) if ids else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _kept(sent: QueryDict, form: QueueFilter) -> list[tuple[str, str]]:
    """The selection, to be sent again with the answer."""
    chosen = [("r", one) for one in sent.getlist("r")[:CHOSEN]]
    return [("all", "1"), *form.filters] if sent.get("all") else [*chosen, *form.filters]


def _list(form: QueueFilter) -> str:
    """The list from which the selection was made."""
    query = QueryDict(mutable=True)
    query.update(dict(form.filters))
    return f"{reverse('queue')}?{query.urlencode()}" if form.filters else reverse("queue")


def _do(
    request: ConsoleRequest, kind: str, criteria: Criteria, answer: dict[str, Any], back: str
) -> HttpResponseRedirect:
    route = None
    if answer.get("route"):
        route = Route.objects.get(pk=answer["route"], account=request.account)
    try:
        done = queue_actions.start(
            request.account.pk,
            actor(request),
            kind,
            criteria,
            reason=answer["reason"],
            route=route,
            request_key=request_key(request),
        )
    except AlreadyDone as already:
        messages.info(request, _("This was done already; nothing was done twice."))
        return redirect("bulk-action", int(already.entry.subject.partition(":")[2]))
    except Refused as refused:
        messages.warning(request, str(refused))
        return redirect(back)
    if done.state == BulkAction.State.DONE:
        messages.success(request, _told(done))
    return redirect("bulk-action", done.pk)


def _told(done: BulkAction) -> str:
    text = ngettext(
        "%(word)s: 1 message.", "%(word)s: %(n)s messages.", done.done
    ) % {"word": done.get_kind_display(), "n": done.done}  # fmt: skip
    if done.skipped:
        text += " " + _("%(n)s left alone: they are in a state that this does not change.") % {
            "n": done.skipped
        }
    return text


def question_for(kind: str, count: Count) -> str:
    """What will happen, as a question."""
    words = {"n": f"{count.number:,}"}
    if count.more:
        words["n"] = _("more than %(n)s") % words if count.number else _("all matching")
    one = count.number == 1 and not count.more
    texts = {
        Kind.RETRY: (_("Try 1 message again now?"), _("Try %(n)s messages again now?")),
        Kind.HOLD: (_("Hold 1 message here?"), _("Hold %(n)s messages here?")),
        Kind.RELEASE: (_("Release 1 message?"), _("Release %(n)s messages?")),
        Kind.REDIRECT: (_("Send 1 message by another route?"), _("Send %(n)s messages by another route?")),
        Kind.BOUNCE: (
            _("Bounce 1 message to its sender? This cannot be undone."),
            _("Bounce %(n)s messages to their senders? This cannot be undone."),
        ),
        Kind.REJECT: (
            _("Reject 1 message without telling its sender? This cannot be undone."),
            _("Reject %(n)s messages without telling their senders? This cannot be undone."),
        ),
    }
    return texts[Kind(kind)][0 if one else 1] % words


@require_GET
@account_required
def actions(request: ConsoleRequest) -> HttpResponse:
    """What was done to many, the latest first."""
    rows = BulkAction.objects.filter(account=request.account).select_related("route").order_by("-pk")
    before = _number(request.GET.get("before"))
    if before:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: SHOWN + 1])
    older = found[SHOWN - 1].pk if len(found) > SHOWN else None
    return render(request, "delivery/bulk_list.html", {"actions": found[:SHOWN], "older": older})


@require_GET
@account_required
def action(request: ConsoleRequest, pk: int) -> HttpResponse:
    """One action: how far it is, what it changed, and the way back."""
    found = _action(request, pk)
    items = found.items.select_related("recipient__message").order_by("-pk")[:SHOWN]
    back = BulkAction.objects.filter(undoes=found).first()
    return render(
        request,
        "delivery/bulk.html",
        {
            "action": found,
            "filters": _in_words(found),
            "items": items,
            "shown": SHOWN,
            "undone_by": back,
            "may_undo": queue_actions.may_undo(found) and back is None,
        },
    )


def _action(request: ConsoleRequest, pk: int) -> BulkAction:
    rows = BulkAction.objects.select_related("route", "undoes")
    return get_object_or_404(rows, pk=pk, account=request.account)


def _in_words(of: BulkAction) -> list[tuple[str, object]]:
    """What was selected."""
    criteria = Criteria.from_json(of.criteria)
    words: list[tuple[str, object]] = []
    if criteria.ids:
        words.append((_("Selected"), _("%(n)s by hand") % {"n": len(criteria.ids)}))
    if criteria.states:
        words.append((_("State"), ", ".join(_state(one) for one in criteria.states)))
    named = [(_("Recipient"), criteria.recipient), (_("Sender"), criteria.sender)]
    named += [(_("Subject"), criteria.subject), (_("Message-ID"), criteria.message_id)]
    if criteria.route:
        name = Route.objects.filter(pk=criteria.route).values_list("name", flat=True).first()
        named.append((_("Route"), name or "–"))
    return words + [(label, value) for label, value in named if value]


def _state(value: str) -> str:
    return str(Recipient.State(value).label)


@require_POST
@administrator_required
def stop(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Go no further."""
    found = _action(request, pk)

    try:
        queue_actions.stop(found, actor(request), request_key=request_key(request))
        messages.success(request, _("Stopped. What was changed so far stays so."))
    except AlreadyDone:
        messages.info(request, _("This was done already; nothing was done twice."))
    except Refused as refused:
        messages.warning(request, str(refused))
    return redirect("bulk-action", found.pk)


@require_POST
@administrator_required
def undo(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Take back what the action did."""
    found = _action(request, pk)
    try:
        back = queue_actions.undo(
            found,
            actor(request),
            reason=request.POST.get("reason", ""),
            request_key=request_key(request),
        )
        if back.state == BulkAction.State.DONE:
            messages.success(request, _told(back))
        return redirect("bulk-action", back.pk)
    except AlreadyDone:
        messages.info(request, _("This was done already; nothing was done twice."))
    except Refused as refused:
        messages.warning(request, str(refused))
    return redirect("bulk-action", found.pk)
