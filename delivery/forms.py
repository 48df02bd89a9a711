"""Forms of the delivery pages: the queue's filter, and the settings of routes and lifetime."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm
from accounts.secrets import encrypt
from delivery.models import DeliverySettings, Route, RouteHost
from delivery.ourselves import is_loopback, leads_here


class DeliverySettingsForm(AccountForm[DeliverySettings]):
    """How long mail waits."""

    class Meta:
        model = DeliverySettings
        fields = [
            "queue_hours",
            "bounce",
            "warn_outbound_minutes",
            "warn_inbound_minutes",
            "content_days",
            "metadata_days",
        ]


class RouteForm(AccountForm[Route]):
    """A route; its hosts have a form each."""

    class Meta:
        model = Route
        fields = ["name", "kind", "max_connections", "max_per_minute", "xclient"]
        labels = {"max_connections": _("Connections at most")}
        help_texts = {
            "name": _("What people call this mail server."),
            "kind": _(
                "An outbound route without hosts takes mail to where the MX records of its domain say."
            ),
            "max_connections": _("Reached gradually while a mail server recovers."),
        }


class RouteHostForm(forms.ModelForm[RouteHost]):
    """One host of a route. Its password goes in and never comes out."""

    password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        max_length=255,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text=_("Kept encrypted. Leave it empty to keep the one that is there."),
    )

    class Meta:
        model = RouteHost
        fields = ["hostname", "port", "tls", "preference", "username"]
        labels = {"tls": _("Encryption")}

    def clean(self) -> dict[str, Any]:
        """Refuse what leads back to the gateway, for mail would go round for ever, and half a sign-in."""
        data = super().clean() or self.cleaned_data
        host, port = str(data.get("hostname") or ""), data.get("port")
        moved = "hostname" in self.changed_data or "port" in self.changed_data
        if host and port and moved and leads_here(host, port):
            self.add_error("hostname", _("This leads back to this gateway. Name the server behind it."))
        self._clean_sign_in(data)
        return data

    def _clean_sign_in(self, data: dict[str, Any]) -> None:
        if not data.get("username"):
            if data.get("password"):
                self.add_error("username", _("A password needs a user name."))
            return
        if not (data.get("password") or self.instance.sealed_password):
            self.add_error("password", _("Enter the password of this user."))
        if data.get("tls") == RouteHost.Tls.OPPORTUNISTIC:
            self.add_error("tls", _("A password is only sent encrypted: require STARTTLS."))

    def save(self, commit: bool = True) -> RouteHost:
        """With the password sealed; without a user name there is none."""
        if not self.cleaned_data.get("username"):
            self.instance.sealed_password = ""
        elif self.cleaned_data.get("password"):
            self.instance.sealed_password = encrypt(self.cleaned_data["password"])
        return super().save(commit)


class HostsOfOneRoute(forms.BaseInlineFormSet[RouteHost, Route, forms.ModelForm[RouteHost]]):
    """The hosts of a route: mail neither goes in where it comes out, nor the other way round."""

    def clean(self) -> None:
        """Refuse the account's own mail server as its way out: bounces would wait for what they tell of."""
        super().clean()
        kind = self.data.get("kind") or self.instance.kind
        for form in self.forms:
            host = getattr(form, "cleaned_data", {})
            if host.get("hostname") and not host.get("DELETE"):
                other = self._on_the_other_way(kind, host["hostname"], host.get("port") or 0)
                if other:
                    form.add_error("hostname", self._words(kind) % {"route": other.route})

    def _on_the_other_way(self, kind: str, hostname: str, port: int) -> RouteHost | None:
        others = RouteHost.objects.filter(
            route__account=self.instance.account_id, hostname__iexact=hostname.strip()
        ).exclude(route__kind=kind)
        if is_loopback(hostname):
            others = others.filter(port=port)  # several servers of one machine
        return others.exclude(route=self.instance.pk).select_related("route").first()

    @staticmethod
    def _words(kind: str) -> str:
        if kind == Route.Kind.OUTBOUND:
            return gettext(
                "The inbound route “%(route)s” leads to this mail server, and monitors may watch it. "
                "Outgoing mail and bounces need a way of their own."
            )
        return gettext(
            "Outgoing mail leaves by this host (“%(route)s”), so it cannot be the watched mail server."
        )


RouteHosts = forms.inlineformset_factory(
    Route,
    RouteHost,
    form=RouteHostForm,
    formset=HostsOfOneRoute,
    extra=1,
    max_num=10,
    validate_max=True,
    can_delete=True,
)
