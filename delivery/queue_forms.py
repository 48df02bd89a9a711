"""Forms of the queue: its filter, and what is asked before something is done to mail in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrPromise

from accounts.models import Account
from delivery.models import Recipient, Route
from delivery.reads.search import Criteria


def _address_field(label: StrPromise) -> forms.CharField:
    hint = forms.TextInput(attrs={"placeholder": _("anna or @domain"), "autocapitalize": "none"})
    return forms.CharField(label=label, required=False, max_length=320, widget=hint)


class QueueFilter(forms.Form):
    """The filter bar. It is sent by GET, so that a filtered queue has an address."""

    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[("", _("All")), ("waiting", _("Waiting")), *Recipient.State.choices],
    )
    recipient = _address_field(_("Recipient"))
    sender = _address_field(_("Sender"))
    subject = forms.CharField(label=_("Subject"), required=False, max_length=255)
    message_id = forms.CharField(label=_("Message-ID"), required=False, max_length=255)
    age = forms.ChoiceField(
        label=_("Older than"),
        required=False,
        choices=[
            ("", _("Any age")),
            ("1", _("1 hour")),
            ("6", _("6 hours")),
            ("24", _("1 day")),
            ("72", _("3 days")),
        ],
    )
    route = forms.ChoiceField(label=_("Route"), required=False)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    FILTERS = ("state", "recipient", "sender", "subject", "message_id", "age", "route")

    def __init__(self, account: Account, data: Any) -> None:
        super().__init__(data, auto_id="filter-%s")
        routes = Route.objects.filter(account=account).order_by("name").values_list("pk", "name")
        self.routes = [(str(pk), name) for pk, name in routes]
        field = self.fields["route"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("All routes")), *self.routes]

    @property
    def filters(self) -> list[tuple[str, str]]:
        """What is filtered by, as it stands in the address."""
        return [(name, str(self.data[name])) for name in self.FILTERS if self.data.get(name)]

    def criteria(self, now: datetime) -> Criteria:
        """The valid filter as plain values; ages are counted from `now`."""
        wanted = self.cleaned_data
        state, hours = wanted["state"], wanted["age"]
        states = Recipient.WAITING if state == "waiting" else (state,) if state else ()
        return Criteria(
            states=tuple(str(one) for one in states),
            route=int(wanted["route"]) if wanted["route"] else None,
            sender=wanted["sender"],
            recipient=wanted["recipient"],
            subject=wanted["subject"],
            message_id=wanted["message_id"],
            accepted_by=now - timedelta(hours=int(hours)) if hours else None,
        )


class ActionForm(forms.Form):
    """The question before an action: why, and for a redirect by which route."""

    route = forms.ChoiceField(label=_("Route"))
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("It is kept with the action, and shown to your colleagues."),
    )

    def __init__(self, kind: str, routes: list[tuple[str, str]], data: Any = None) -> None:
        super().__init__(data, auto_id="action-%s")
        if kind != "redirect":
            del self.fields["route"]
            return
        field = self.fields["route"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("Choose a route")), *routes]
