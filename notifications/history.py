"""What contacts were told: every notification with its attempts and the providers' words."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.access import ConsoleRequest, account_required
from accounts.models import Account
from notifications.kinds import KINDS
from notifications.models import Attempt, Notification

PAGE = 50
WAITING, HELD = "waiting", "held"
State = Notification.State


class HistoryFilter(forms.Form):
    """The filter bar. It is sent by GET, so that a filtered history has an address."""

    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[
            ("", _("All")),
            (WAITING, _("Not sent yet")),
            (HELD, _("Held back")),
            (State.SENT, _("Sent")),
            (State.DELIVERED, _("Delivered")),
            (State.FAILED, _("Failed")),
        ],
    )
    kind = forms.ChoiceField(
        label=_("About"),
        required=False,
        choices=[("", _("Everything")), *((name, kind.title) for name, kind in KINDS.items())],
    )
    contact = forms.ChoiceField(label=_("Contact"), required=False)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    def __init__(self, account: Account, data: Any) -> None:
        super().__init__(data, auto_id="filter-%s")
        contacts = account.contacts.order_by("name", "pk").values_list("pk", "name")
        field = self.fields["contact"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("Everybody")), *((str(pk), name) for pk, name in contacts)]

    @property
    def filtered(self) -> bool:
        return any(self.data.get(name) for name in ("state", "kind", "contact"))

    def found(self, account: Account) -> QuerySet[Notification]:
        """The notifications that match, the newest first, from where the page before ended."""
        found = Notification.objects.filter(account=account).order_by("-created_at", "-pk")
        wanted = self.cleaned_data
        if wanted["state"] == WAITING:
            found = found.filter(state__in=(State.PENDING, State.SENDING))
        elif wanted["state"] == HELD:
            found = found.held_back()
        elif wanted["state"]:
            found = found.filter(state=wanted["state"])
        if wanted["kind"]:
            found = found.filter(kind=wanted["kind"])
        if wanted["contact"]:
            found = found.filter(contact=wanted["contact"])
        last = Notification.objects.filter(account=account, pk=wanted["before"]).first()
        if last is not None:
            older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, pk__lt=last.pk)
            found = found.filter(older, created_at__lte=last.created_at)
        return found


@require_GET
@account_required
def alerts(request: ConsoleRequest) -> HttpResponse:
    """Whom Continuity told what, over which channel, and what became of it; a page at a time."""
    form = HistoryFilter(request.account, request.GET)
    rows: list[Notification] = []
    if form.is_valid():
        attempts = Prefetch("attempts", Attempt.objects.order_by("pk"))
        found = form.found(request.account).select_related("contact").prefetch_related(attempts)
        rows = list(found[: PAGE + 1])
    return render(
        request,
        "notifications/alerts.html",
        {
            "form": form,
            "alerts": rows[:PAGE],
            "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
            "held": Notification.objects.filter(account=request.account).held_back().count(),
        },
    )
