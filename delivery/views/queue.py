"""The list: a filter that is the address, pages by keyset both ways."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from accounts.models import Membership
from delivery.models import BulkAction, Recipient
from delivery.queue_forms import QueueFilter
from delivery.reads.search import SCAN, Criteria, Found, Search, place_of
from delivery.services.queue_changes import APPLIES_TO


@require_GET
@account_required
def queue(request: ConsoleRequest) -> HttpResponse:
    """Recipients of the account that match the filter, the newest first, a page at a time."""
    form = QueueFilter(request.account, request.GET)
    context = {"form": form, "filtered": bool(form.filters), "scan": SCAN}
    if form.is_valid():
        criteria = form.criteria(timezone.now())
        search = Search(request.account.pk, criteria)
        context |= _page(request, search, form) | {"count": search.count()}
        if request.role == Membership.Role.ADMINISTRATOR:
            context["actions"] = offered(criteria)
    quarantined = Criteria(states=(Recipient.State.QUARANTINED,))
    context["quarantined"] = Search(request.account.pk, quarantined).count()
    running = BulkAction.objects.filter(account=request.account, state=BulkAction.State.RUNNING)
    context["running"] = running.order_by("-pk").first()
    return render(request, "delivery/queue.html", context)


def _page(request: ConsoleRequest, search: Search, form: QueueFilter) -> dict[str, object]:
    account_id = request.account.pk
    after = place_of(account_id, form.cleaned_data["after"])
    before = None if after else place_of(account_id, form.cleaned_data["before"])
    found = search.page(after or before, newer=bool(after))
    if after and not found.ids and not found.reached:
        after, found = None, search.page(None)
    rows = in_order(found.ids)
    if after:
        rows.reverse()
    further = _further(found, rows)
    return {
        "recipients": rows,
        "older": (rows[-1].pk if rows else None) if after else further,
        "newer": further if after else rows[0].pk if rows and before else None,
        "paged": bool(before or after),
        "reached": found.reached,
    }


def _further(found: Found, rows: Sequence[Recipient]) -> int | None:
    """From where the list goes on in the direction in which it was read."""
    if found.reached:
        return found.reached[1]
    return found.ids[-1] if found.more else None


def in_order(ids: Sequence[int]) -> list[Recipient]:
    """The recipients with what a list shows of them. One query."""
    rows = Recipient.objects.select_related("message", "next_hop__route").in_bulk(ids)
    return [rows[pk] for pk in ids if pk in rows]


def offered(criteria: Criteria) -> list[tuple[str, str]]:
    """The actions that can change something among what is listed."""
    states = set(criteria.every_state)
    kinds = [kind for kind in BulkAction.Kind if states & set(APPLIES_TO[kind])]
    return [(kind.value, str(kind.label)) for kind in kinds]
