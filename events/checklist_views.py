"""Coming back: the checklist of an event that ended, and what to see to while one is active."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.services import AlreadyDone, Refused
from delivery.models import Route
from delivery.services import route_tests
from events import checklist_reads as reads
from events.models import Checklist, ChecklistItem, ContinuityEvent, SupportCall
from events.reads import status
from events.services import checklist as services
from notifications.bulk import decisions as notices
from notifications.bulk.forms import NoticeForm
from notifications.bulk.models import Notice

SHOWN_CALLS = 10


@require_GET
@account_required
def checklist(request: ConsoleRequest, pk: int) -> HttpResponse:
    """The checklist of an event, each item as it is at this moment. Looking changes nothing."""
    lists = Checklist.objects.select_related("event").prefetch_related("items")
    found = get_object_or_404(lists, event=pk, account=request.account)
    items = reads.shown(found, timezone.now())
    context = {
        "event": found.event,
        "items": items,
        "left": sum(one.state == ChecklistItem.State.OPEN for one in items),
        "others": [one for one in reads.left(request.account.pk) if one.event_id != pk],
        "calls": _open_calls(pk),
        "back": reverse("checklist", args=[pk]),
    }
    return render(request, "events/checklist.html", context)


@require_GET
@account_required
def during(request: ConsoleRequest, pk: int) -> HttpResponse:
    """What to see to while an event is active; afterwards its checklist is the page to look at."""
    event = get_object_or_404(ContinuityEvent, pk=pk, account=request.account)
    now = timezone.now()
    if not event.is_active(now):
        over = Checklist.objects.filter(event=pk).exists()
        return redirect("checklist" if over else "event", pk)
    context = {
        "event": event,
        "status": status(request.account.pk, now),
        "notice": _latest_notice(event),
        "definitions": list(reads.definitions(request.account.pk, now)[:SHOWN_CALLS]),
        "calls": _open_calls(pk),
        "back": reverse("during", args=[pk]),
    }
    return render(request, "events/during.html", context)


@require_POST
@administrator_required
def act(request: ConsoleRequest, pk: int, kind: str, action: str) -> HttpResponse:
    """Do what a button of the checklist asks for, and write down at once what that settled."""
    event = get_object_or_404(ContinuityEvent, pk=pk, account=request.account)
    if action not in ACTS or kind not in ChecklistItem.Kind.values:
        raise Http404

    def do() -> str:
        said = ACTS[action](request, event, kind)
        services.decide(request.account.pk, timezone.now())
        return said

    return carry_out(request, do, reverse("checklist", args=[pk]))


@require_POST
@administrator_required
def write(request: ConsoleRequest, pk: int) -> HttpResponse:
    """A draft of the notice to the users, with what is usually said: that it is on, or that it is over."""
    event = get_object_or_404(ContinuityEvent, pk=pk, account=request.account)
    form = NoticeForm(request.account, _draft(event, timezone.now()))
    try:
        if not form.is_valid():
            raise Refused(_("The notice could not be prepared. Write it on its own page."))
        notice = notices.write(request.account.pk, actor(request), form, request_key=request_key(request))
    except AlreadyDone as already:
        return redirect("notice", int(already.entry.subject.partition(":")[2]))
    except Refused:
        return redirect("notice-add")
    return redirect("notice-edit", notice.pk)


def _draft(event: ContinuityEvent, now: datetime) -> dict[str, object]:
    if event.is_active(now):
        subject = _("Our mail server is being repaired")
        text = _(
            "Our mail server does not work at the moment. "
            "Mail that is sent to you is kept and will reach you.\n\n"
            "Until then, please use: \n\nWe tell you when everything is as before."
        )
        sms = _("Our mail server is being repaired. Your mail is kept and will reach you.")
    else:
        subject = _("Our mail server works again")
        text = _(
            "Our mail server works again. Please use your mail as before.\n\n"
            "Mail that came meanwhile is in your mailbox, or will be soon. If something is missing, call us."
        )
        sms = _("Our mail server works again. Please use your mail as before.")
    return {"subject": subject, "text": text, "sms_text": sms, "way": Notice.Way.EMAIL_SMS, "everybody": True}


def _waive(request: ConsoleRequest, event: ContinuityEvent, kind: str) -> str:
    services.waive(
        request.account.pk,
        actor(request),
        event.pk,
        kind,
        request.POST.get("reason", ""),
        request_key=request_key(request),
    )
    return _("Waived. Your reason is kept with the event.")


def _take_back(request: ConsoleRequest, event: ContinuityEvent, kind: str) -> str:
    services.take_back(request.account.pk, actor(request), event.pk, kind, request_key=request_key(request))
    return _("The waiver was taken back.")


def _test(request: ConsoleRequest, event: ContinuityEvent, kind: str) -> str:
    wanted = request.POST.get("route", "")
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 19 else 0
    route = get_object_or_404(Route, pk=number, account=request.account, kind=Route.Kind.INBOUND)
    recipient = route_tests.usual_recipient(route)
    route_tests.start(route, actor(request), recipient, request_key=request_key(request))
    return _("The test is running. What it finds shows here.")


ACTS: dict[str, Callable[[ConsoleRequest, ContinuityEvent, str], str]] = {
    "waive": _waive,
    "take-back": _take_back,
    "test": _test,
}


def _latest_notice(event: ContinuityEvent) -> Notice | None:
    notices = Notice.objects.filter(account=event.account_id, made_at__gte=event.starts_at)
    return notices.exclude(state=Notice.State.CANCELLED).order_by("-pk").first()


def _open_calls(event_id: int) -> list[SupportCall]:
    calls = SupportCall.objects.filter(event=event_id, settled_at=None)
    return list(calls.order_by("-pk")[:SHOWN_CALLS])
