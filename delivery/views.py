"""The queue: a filter that is the address, and a message with its timeline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import BinaryField, Q, QuerySet
from django.db.models.functions import Substr
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from accounts.models import Account, Membership
from delivery.forms import QueueFilter
from delivery.models import Attempt, Message, MessageContent, NextHop, Recipient

PAGE = 50
SHOWN_ATTEMPTS = 200
HEADER_BYTES = 64 * 1024


@require_GET
@account_required
def queue(request: ConsoleRequest) -> HttpResponse:
    """Recipients of the account that match the filter, the newest first, a page at a time."""
    form = QueueFilter(request.account, request.GET)
    rows: list[Recipient] = []
    if form.is_valid():
        rows = list(matching(request.account, form.cleaned_data, timezone.now())[: PAGE + 1])
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    context = {"form": form, "recipients": rows, "older": rows[-1].pk if more else None}
    context["filtered"] = any(form.data.get(name) for name in form.fields if name != "before")
    return render(request, "delivery/queue.html", context)


def matching(account: Account, wanted: dict[str, Any], now: datetime) -> QuerySet[Recipient]:
    """The recipients that a valid filter asks for, with what the table shows of their messages.

    Keyset pages: what waits is read by its index on age, the rest by primary key; nothing is counted.
    """
    hops = NextHop.objects.filter(route__account=account).values("pk")
    if wanted.get("route"):
        hops = hops.filter(route_id=wanted["route"])
    found = Recipient.objects.filter(next_hop__in=hops).select_related("message", "next_hop__route")
    state = wanted.get("state")
    if state == "waiting":
        found = found.waiting()
    elif state:
        found = found.filter(state=state)
    texts = {"sender": "message__sender", "recipient": "address", "subject": "message__subject"}
    for name, field in texts.items():
        if wanted.get(name):
            found = found.filter(**{f"{field}__icontains": wanted[name]})
    if identifier := str(wanted.get("message_id") or ""):
        bare = identifier.strip("<>")
        found = found.filter(message__message_id__in=[bare, f"<{bare}>"])
    if hours := wanted.get("age"):
        found = found.filter(accepted_at__lte=now - timedelta(hours=int(str(hours))))
    by_age = state == "waiting" or state in Recipient.WAITING
    if last := Recipient.objects.filter(pk=wanted.get("before") or 0, next_hop__in=hops).first():
        older = Q(pk__lt=last.pk)
        if by_age:
            older = Q(accepted_at__lt=last.accepted_at) | Q(accepted_at=last.accepted_at, pk__lt=last.pk)
        found = found.filter(older)
    return found.order_by("-accepted_at", "-pk") if by_age else found.order_by("-pk")


@require_GET
@account_required
def message(request: ConsoleRequest, pk: int) -> HttpResponse:
    """The fate of one message. Support staff see its envelope and attempts, not its content."""
    found = get_object_or_404(Message, pk=pk, account=request.account)
    recipients = list(found.recipients.select_related("next_hop__route").order_by("pk"))
    attempts = list(
        Attempt.objects.filter(recipient__message=found)
        .select_related("recipient")
        .order_by("-at", "-pk")[:SHOWN_ATTEMPTS]
    )
    header = None
    if request.role == Membership.Role.ADMINISTRATOR:
        header = header_text(found)
    return render(
        request,
        "delivery/message.html",
        {
            "message_": found,
            "recipients": recipients,
            "attempts": attempts,
            "more_attempts": len(attempts) == SHOWN_ATTEMPTS,
            "final": [one for one in recipients if one.final_at],
            "header": header,
        },
    )


def header_text(of: Message) -> str | None:
    """The header as it came, undecoded: nothing a hostile one can break. None when it was deleted.

    Reads at most 64 KiB of the message.
    """
    content = (
        MessageContent.objects.filter(message=of)
        .annotate(start=Substr("data", 1, HEADER_BYTES, output_field=BinaryField()))
        .values_list("start", flat=True)
        .first()
    )
    if content is None:
        return None
    data = bytes(content)
    ends = [place for end in (b"\r\n\r\n", b"\n\n") if (place := data.find(end)) >= 0]
    text = data[: min(ends, default=len(data))].decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\0", "�")
