"""Forms of who may send mail to other organisations: networks, and users of the submission port."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm
from accounts.models import Account
from delivery.models import DeliverySettings, SubmissionUser

# The widest networks that are taken: wider ones are a slip of the pen.
WIDEST = {4: 8, 6: 32}


class OutboundNetworksForm(AccountForm[DeliverySettings]):
    """From where the account's own servers hand in mail without signing in."""

    outbound_networks = forms.CharField(
        label=_("Networks that may send"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_(
            "One address or network on a line, such as 192.0.2.10 or 192.0.2.0/24. From there mail of this "
            "account's domains to other organisations is taken without signing in."
        ),
    )

    class Meta:
        model = DeliverySettings
        fields = ["outbound_networks"]

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        self.initial["outbound_networks"] = "\n".join(self.instance.outbound_networks)

    def clean_outbound_networks(self) -> list[str]:
        found = []
        for text in self.cleaned_data["outbound_networks"].replace(",", " ").split():
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise forms.ValidationError(
                    _("“%(text)s” is not an address or network."), params={"text": text}
                ) from None
            if network.prefixlen < WIDEST[network.version]:
                raise forms.ValidationError(
                    _("“%(text)s” is too wide: name the networks of your own servers."), params={"text": text}
                )
            found.append(str(network))
        return list(dict.fromkeys(found))


class SubmissionUserForm(AccountForm[SubmissionUser]):
    """A user name and password for the submission port. The password goes in and never comes out."""

    new_password = forms.CharField(
        label=_("Password"),
        required=False,
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = SubmissionUser
        fields = ["username", "enabled"]
        labels = {"enabled": _("May send")}

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        field = self.fields["new_password"]
        field.required = self.instance.pk is None
        field.help_text = (
            _("For one program or machine; long and random is best.")
            if field.required
            else _("Empty: it stays as it is.")
        )

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"]).strip().lower()
        if not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", name):
            raise forms.ValidationError(_("A user name has no spaces."))
        return name

    def clean_new_password(self) -> str:
        """Hashed here: it takes too long to be done while the account is locked."""
        password = str(self.cleaned_data["new_password"])
        if not password:
            return ""
        validate_password(password)
        self.instance.password = make_password(password)
        return "changed"

    def changes(self) -> dict[str, list[str]]:
        """Without the password: it is neither in the audit nor in a log."""
        found = super().changes()
        if "new_password" in found:
            found["new_password"] = ["", "changed"]
        return found
