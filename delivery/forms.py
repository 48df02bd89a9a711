"""Forms of the delivery pages: the queue's filter, and the settings of routes and lifetime."""

from __future__ import annotations

import ipaddress
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm
from accounts.models import Account
from delivery.models import DeliverySettings, Recipient, Route, RouteHost


class QueueFilter(forms.Form):
    """The filter bar. It is sent by GET, so that a filtered queue has an address."""

    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[("", _("All")), ("waiting", _("Waiting")), *Recipient.State.choices],
    )
    sender = forms.CharField(label=_("Sender"), required=False, max_length=320)
    recipient = forms.CharField(label=_("Recipient"), required=False, max_length=320)
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

    def __init__(self, account: Account, data: Any) -> None:
        super().__init__(data, auto_id="filter-%s")
        routes = Route.objects.filter(account=account).order_by("name").values_list("pk", "name")
        field = self.fields["route"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("All routes")), *((str(pk), name) for pk, name in routes)]


class DeliverySettingsForm(AccountForm[DeliverySettings]):
    """How long mail waits."""

    class Meta:
        model = DeliverySettings
        fields = ["queue_hours"]


class RouteForm(AccountForm[Route]):
    """A route; its hosts have a form each."""

    class Meta:
        model = Route
        fields = ["name", "kind", "max_connections"]
        labels = {"max_connections": _("Connections at most")}
        help_texts = {
            "name": _("What people call this mail server."),
            "max_connections": _("Reached gradually while a mail server recovers."),
        }


class RouteHostForm(forms.ModelForm[RouteHost]):
    """One host of a route."""

    class Meta:
        model = RouteHost
        fields = ["hostname", "port", "tls", "preference"]
        labels = {"tls": _("Encryption")}

    def clean(self) -> dict[str, Any]:
        """Refuse what leads straight back to the gateway: mail would go round for ever."""
        data = super().clean() or self.cleaned_data
        host = str(data.get("hostname") or "").strip().lower().rstrip(".")
        if self._is_here(host) and data.get("port") == settings.SMTP_PORT:
            self.add_error("hostname", _("This leads back to this gateway. Name the server behind it."))
        return data

    @staticmethod
    def _is_here(host: str) -> bool:
        if host in ("localhost", settings.GATEWAY_NAME, settings.BIND_ADDRESS):
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False


RouteHosts = forms.inlineformset_factory(
    Route, RouteHost, form=RouteHostForm, extra=1, max_num=10, validate_max=True, can_delete=True
)
