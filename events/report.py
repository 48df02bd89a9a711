"""The report of an event, to print and to hand to somebody who was not there."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from accounts.models import AuditEntry
from delivery.charts import queue_chart
from delivery.reads import balance, queue_history
from events.books import overlapping, span
from events.console_views import AFTERWARDS, timeline, told
from events.models import ContinuityEvent

_CLOCK = AuditEntry.By.SCHEDULER


@require_GET
@account_required
def report(request: ConsoleRequest, pk: int) -> HttpResponse:
    """What happened, how long, what became of the mail, who did what."""
    event = get_object_or_404(ContinuityEvent, pk=pk, account=request.account)
    now, account_id = timezone.now(), request.account.pk
    end = event.ended_at or min(event.ends_at, now)
    outages = list(overlapping(event, end).select_related("monitor").order_by("failing_since"))
    start = min([event.starts_at, *(one.failing_since for one in outages)])
    mail = span(event, now)
    moments = timeline(account_id, start, max(end, mail.end))
    depth = queue_history(account_id, start, min(end + AFTERWARDS, now))
    return render(
        request,
        "events/report.html",
        {
            "event": event,
            "active": event.is_active(now),
            "now": now,
            "start": start,
            "end": end,
            "length": end - event.starts_at,
            "outages": [(one, (one.closed_at or now) - one.failing_since) for one in outages],
            "mail": mail,
            "books": balance(mail.scope(account_id)),
            "told": told(account_id, start, end),
            "deepest": max((one.queued for one in depth), default=0),
            "depth": queue_chart(depth),
            "acts": [one for one in moments if one.entry and one.entry.by != _CLOCK],
            "noted": [one for one in moments if one.entry and one.entry.by == _CLOCK],
            "alerts": [one for one in moments if one.alert],
        },
    )
