"""Pages of notices: written, looked at, started, watched, gone on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.models import Person
from accounts.services import Actor, AlreadyDone, Refused
from notifications import gsm7, wording
from notifications.bulk import decisions, people, reads, texts
from notifications.bulk.forms import NoticeForm, PeopleFilter
from notifications.bulk.models import Notice, NoticeRecipient

PAGE = 50
Act = Callable[[int, Actor, int, str | None], str]
ACTS: dict[str, Act] = {
    "start": decisions.start,
    "pause": decisions.pause,
    "resume": decisions.resume,
    "cancel": decisions.cancel,
    "retry": decisions.retry,
    "retry-unknown": decisions.retry_unknown,
    "discard": decisions.discard,
}


@require_GET
@account_required
def notices(request: ConsoleRequest) -> HttpResponse:
    """Every notice, the latest first."""
    rows = Notice.objects.filter(account=request.account).order_by("-pk").prefetch_related("groups")
    if before := _number(request.GET.get("before")):
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE + 1])
    older = found[PAGE - 1].pk if len(found) > PAGE else None
    return render(request, "notifications/notices.html", {"notices": found[:PAGE], "older": older})


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Write a notice, or change a draft."""
    notice = _notice(request, pk) if pk else None
    if notice and notice.state != Notice.State.DRAFT:
        return redirect("notice", notice.pk)
    form = NoticeForm(request.account, request.POST or None, instance=notice)
    if request.method == "POST" and form.is_valid():
        try:
            key = request_key(request)
            notice = decisions.write(request.account.pk, actor(request), form, request_key=key)
        except AlreadyDone as already:
            return redirect("notice", int(already.entry.subject.partition(":")[2]))
        except Refused as refused:
            messages.warning(request, str(refused))
        assert notice
        return redirect("notice", notice.pk)
    return render(request, "notifications/notice_edit.html", {"form": form, "notice": notice})


@require_GET
@account_required
def notice(request: ConsoleRequest, pk: int) -> HttpResponse:
    """A draft as it would be sent, or how far a notice is."""
    found = _notice(request, pk)
    context: dict[str, Any] = {"notice": found, "draft": found.state == Notice.State.DRAFT}
    name = request.account.name
    context["previews"] = [(channel, texts.render(found, name, channel)) for channel in found.order]
    if found.sms_text.strip():
        context["sms_counted"] = wording.told(gsm7.counted(found.sms_text.strip()))
    if context["draft"]:
        context["reach"] = people.reach(found)
        context["unreachable"] = list(people.unreachable(found)[:5])
    else:
        context["progress"] = reads.progress_of(found, timezone.now())
        context["states"] = [(state, state.label) for state in NoticeRecipient.State]
    return render(request, "notifications/notice.html", context)


@require_GET
@account_required
def recipients(request: ConsoleRequest, pk: int) -> HttpResponse:
    """Who got it, who did not and why; of a draft those whom it would not reach. A page at a time."""
    found = _notice(request, pk)
    after = _number(request.GET.get("after"))
    context: dict[str, Any] = {"notice": found, "after": after}
    if found.state == Notice.State.DRAFT:
        missing = people.unreachable(found)
        place = Person.objects.filter(account=request.account, pk=after).first() if after else None
        rows: list[Any] = list((reads.after_person(missing, place) if place else missing)[: PAGE + 1])
        context |= {"state": "unreachable", "people": rows[:PAGE]}
    else:
        state = request.GET.get("state", "")
        copies = found.recipients.order_by("pk")
        if state in NoticeRecipient.State.values:
            copies = copies.filter(state=state)
        rows = list((copies.filter(pk__gt=after) if after else copies)[: PAGE + 1])
        context |= {"state": state, "copies": rows[:PAGE], "states": NoticeRecipient.State.choices}
    context["next"] = rows[PAGE - 1].pk if len(rows) > PAGE else None
    return render(request, "notifications/notice_people.html", context)


@require_POST
@administrator_required
def act(request: ConsoleRequest, pk: int, action: str) -> HttpResponse:
    """Do what a button of the page asks for."""
    found = _notice(request, pk)
    if action not in ACTS:
        raise Http404
    after = reverse("notices") if action == "discard" else reverse("notice", args=[found.pk])
    return carry_out(
        request,
        lambda: ACTS[action](request.account.pk, actor(request), found.pk, request_key(request)),
        after,
    )


@require_GET
@account_required
def people_list(request: ConsoleRequest) -> HttpResponse:
    """The people of the account: who is in which groups, and who is reached how."""
    form = PeopleFilter(request.account, request.GET)
    wanted = form.cleaned_data if form.is_valid() else {}
    group = wanted.get("group")
    found = reads.found_people(
        request.account.pk,
        q=wanted.get("q", ""),
        group=group.pk if group else None,
        reach=wanted.get("reach", ""),
    )
    after = _number(request.GET.get("after"))
    place = Person.objects.filter(account=request.account, pk=after).first() if after else None
    if place:
        found = reads.after_person(found, place)
    rows = list(found.prefetch_related("groups")[: PAGE + 1])
    context = {
        "form": form,
        "filtered": any(wanted.values()),
        "people": rows[:PAGE],
        "next": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "after": place,
        "reachability": reads.reachability(request.account.pk),
        "groups": reads.groups(request.account.pk),
    }
    return render(request, "notifications/people.html", context)


def _notice(request: ConsoleRequest, pk: int) -> Notice:
    return get_object_or_404(Notice, pk=pk, account=request.account)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None
