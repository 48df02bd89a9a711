"""Forms of people, groups, and the file they come from."""

from __future__ import annotations

from typing import Any

import phonenumbers
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.forms import AccountForm
from accounts.models import Account, Group, MailDomain, Person
from accounts.people.phones import COUNTRIES


class PersonForm(AccountForm[Person]):
    """A person, their ways outside the mail server, and groups. A changed way is not verified any more."""

    groups = forms.ModelMultipleChoiceField(
        Group.objects.none(),
        label=gettext_lazy("Groups"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = Person
        fields = ["name", "address", "alternate_address", "phone"]
        labels = {
            "address": gettext_lazy("Mailbox address"),
            "alternate_address": gettext_lazy("Alternate e-mail"),
        }
        help_texts = {"address": ""}

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        groups = self.fields["groups"]
        assert isinstance(groups, forms.ModelMultipleChoiceField)
        groups.queryset = account.groups.order_by("name", "pk")
        if self.instance.pk:
            self.initial["groups"] = list(self.instance.groups.values_list("pk", flat=True))

    def clean_address(self) -> str:
        """Lower case, in a domain of the account: mail for it passes here."""
        address = str(self.cleaned_data["address"]).strip().lower()
        domains = MailDomain.objects.filter(account=self.account)
        same = self.instance.pk and address == self.initial.get("address")
        if not same and not domains.filter(name=address.rpartition("@")[2]).exists():
            raise forms.ValidationError(_("The address is not in one of your domains."))
        return address

    def save(self, commit: bool = True) -> Person:
        person = self.instance
        if person.alternate_address != self.initial.get("alternate_address", ""):
            person.alternate_verified_at = None
        if person.phone != self.initial.get("phone", ""):
            person.phone_verified_at = None
        saved = super().save(commit)
        saved.groups.set(self.cleaned_data["groups"])
        return saved


class GroupForm(AccountForm[Group]):
    """The name of a group. Its people are chosen on their own pages, or come from a file."""

    class Meta:
        model = Group
        fields = ["name"]

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        if any(sign in name for sign in ";|"):
            raise forms.ValidationError(_("A name with ; or | would be two groups in a file."))
        return name


class UploadForm(forms.Form):
    """What is said about a file of people. The file itself is read by the view."""

    country = forms.ChoiceField(
        label=gettext_lazy("Country of phone numbers without a country code"),
        required=False,
        help_text=gettext_lazy("So that 0170 1234567 becomes +49 170 1234567."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        country = self.fields["country"]
        assert isinstance(country, forms.ChoiceField)
        country.choices = [
            ("", _("None: all have one")),
            *((one, f"{one} (+{phonenumbers.country_code_for_region(one)})") for one in COUNTRIES),
        ]
