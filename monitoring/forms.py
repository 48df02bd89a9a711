"""The form of a monitor."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.forms.boundfield import BoundField
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm, TimeZoneChoice
from accounts.models import Account
from accounts.secrets import encrypt
from delivery.models import Route
from delivery.ourselves import leads_here
from monitoring.models import Monitor
from monitoring.services import ensure_sinks

CUSTOM = "custom"
OPTIONAL = ("outbound_port", "outbound_tls", "outbound_latency_seconds")
SENSITIVITIES = (
    (str(Monitor.HIGH), _("High: after 3 failed windows")),
    (str(Monitor.MEDIUM), _("Medium: after 5")),
    (str(Monitor.LOW), _("Low: after 10")),
    (CUSTOM, _("Custom")),
)


class MonitorForm(AccountForm[Monitor]):
    """Everything of a monitor that an administrator sets. The password goes in and never comes out."""

    time_zone = TimeZoneChoice()
    sensitivity = forms.ChoiceField(
        label=_("Sensitivity"), choices=SENSITIVITIES, widget=forms.RadioSelect, required=False
    )
    outbound_password = forms.CharField(
        label=_("Password of the mailbox"),
        required=False,
        strip=False,
        max_length=255,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text=_("Kept encrypted. Leave it empty to keep the one that is there."),
    )

    class Meta:
        model = Monitor
        fields = [
            "description",
            "notes",
            "time_zone",
            "active",
            "route",
            "outbound_host",
            "outbound_port",
            "outbound_tls",
            "outbound_username",
            "outbound_sender",
            "outbound_latency_seconds",
            "threshold",
            "contacts",
        ]
        widgets = {"contacts": forms.CheckboxSelectMultiple, "notes": forms.Textarea(attrs={"rows": 3})}
        labels = {
            "route": _("Mail server"),
            "contacts": _("Who is told"),
            "active": _("On"),
            "threshold": _("Custom threshold"),
        }
        help_texts = {
            "route": _("Real deliveries over this route are judged; without traffic it is probed."),
            "active": _("Off, it judges nothing and nobody is alerted by it."),
            "outbound_host": _("Where people's mail programs hand in mail. Empty: no outbound check."),
            "outbound_username": _("Of a mailbox kept for this check alone."),
            "threshold": _("Failed windows until the outage opens, 1 to 60. Counts only with “Custom”."),
        }

    GROUPS = (
        ("", "", ("description", "notes", "time_zone", "active")),
        (
            _("Inbound check"),
            _("Whether the mail server takes mail from this gateway."),
            ("route",),
        ),
        (
            _("Outbound check"),
            _(
                "Whether mail leaves. In each window a small signed message is handed in at the mail server, "
                "and has to arrive at this gateway in time."
            ),
            (
                "outbound_host",
                "outbound_port",
                "outbound_tls",
                "outbound_username",
                "outbound_password",
                "outbound_sender",
                "outbound_latency_seconds",
            ),
        ),
        (
            _("Alerts"),
            _(
                "A failed window adds one to the counter, whichever check failed, and a good one takes one "
                "away. The outage closes at half of the threshold."
            ),
            ("sensitivity", "threshold", "contacts"),
        ),
    )

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        for name, queryset in (
            ("route", Route.objects.filter(account=account, kind=Route.Kind.INBOUND)),
            ("contacts", account.contacts.filter(active=True)),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = queryset.order_by("name")
        route = self.fields["route"]
        assert isinstance(route, forms.ModelChoiceField)
        route.empty_label = gettext("No inbound check")
        for name in ("threshold", *OPTIONAL):
            self.fields[name].required = False
        threshold = str(self.instance.threshold)
        self.fields["sensitivity"].initial = threshold if threshold in dict(SENSITIVITIES) else CUSTOM

    def groups(self) -> list[tuple[str, str, list[BoundField]]]:
        """Heading, what it is about, and fields, in the order of the page."""
        return [(str(head), str(about), [self[name] for name in names]) for head, about, names in self.GROUPS]

    def clean(self) -> dict[str, Any]:
        """Refuse a monitor that watches nothing, and a check that could not be made."""
        data = super().clean() or self.cleaned_data
        for name in OPTIONAL:
            if not data.get(name) and name not in self.errors:
                data[name] = self.fields[name].initial
        self._clean_threshold(data)
        if data.get("outbound_host"):
            self._clean_outbound(data)
        elif not data.get("route") and not self.errors:
            self.add_error(
                "route", _("Choose a mail server, or give the outbound check a submission server.")
            )
        return data

    def _clean_threshold(self, data: dict[str, Any]) -> None:
        chosen = data.get("sensitivity") or CUSTOM
        if chosen != CUSTOM:
            data["threshold"] = int(chosen)
        elif not data.get("threshold") and "threshold" not in self.errors:
            self.add_error("threshold", _("Enter a number from 1 to 60."))

    def _clean_outbound(self, data: dict[str, Any]) -> None:
        host, port = data["outbound_host"], data.get("outbound_port") or 0
        if leads_here(host, port):
            self.add_error("outbound_host", _("This leads to this gateway. Name the mail server behind it."))
        username = data.get("outbound_username")
        if not username:
            self.add_error("outbound_username", _("The mail server wants somebody to sign in."))
        elif not data.get("outbound_sender"):
            try:
                validate_email(username)
            except ValidationError:
                self.add_error("outbound_sender", _("The user name is no address, so enter the mailbox's."))
        where = ("outbound_host", "outbound_port", "outbound_username")
        moved = any(data.get(name) != self.initial.get(name) for name in where)
        if not data.get("outbound_password") and (moved or not self.instance.outbound_sealed_password):
            self.add_error("outbound_password", _("Enter the password of this mailbox."))

    def changes(self) -> dict[str, list[str]]:
        """Without the password, and the threshold as what it is now."""
        changed = {name: both for name, both in super().changes().items() if both[0] != both[1]}
        changed.pop("sensitivity", None)
        if "outbound_password" in changed:
            changed["outbound_password"] = ["", "…"]
        before, after = self.initial.get("threshold"), self.cleaned_data.get("threshold")
        return changed if before == after else changed | {"threshold": [str(before), str(after)]}

    def save(self, commit: bool = True) -> Monitor:
        """With the password sealed, and an address of its own for the probes."""
        self.instance.inbound = self.instance.has_inbound
        if not self.instance.has_outbound:
            self.instance.outbound_sealed_password = ""
        else:
            if self.cleaned_data.get("outbound_password"):
                self.instance.outbound_sealed_password = encrypt(self.cleaned_data["outbound_password"])
            ensure_sinks([self.instance], timezone.now())
        if self.instance._state.adding:
            return super().save(commit)
        # Windows are judged meanwhile: what they move would be put back, and they would be judged again.
        moved = {"id", "counter", "judged_until"}
        super().save(commit=False).save(
            update_fields=[one.name for one in Monitor._meta.concrete_fields if one.name not in moved]
        )
        self.save_m2m()
        return self.instance


class ThresholdForm(AccountForm[Monitor]):
    """The threshold alone."""

    class Meta:
        model = Monitor
        fields = ["threshold"]

    def save(self, commit: bool = True) -> Monitor:
        """Nothing but the threshold: windows are judged meanwhile, and move the counter."""
        self.instance.save(update_fields=["threshold"])
        return self.instance
