"""Forms of a contact and the ways to reach them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.models import BaseInlineFormSet
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm, LanguageChoice, TimeZoneChoice
from accounts.models import Account, Contact, User
from notifications.masking import MaskedAddress
from notifications.models import ContactPoint


class ContactForm(AccountForm[Contact]):
    """Who is told."""

    time_zone = TimeZoneChoice(help_text=_("Times in alerts are told in this zone."))
    language = LanguageChoice(help_text=_("Alerts and the portal are in this language."))

    class Meta:
        model = Contact
        fields = ["name", "user", "time_zone", "language", "telling", "fall_through_minutes", "active"]
        labels = {
            "active": _("Is alerted"),
            "user": _("Signs in as"),
            "telling": _("Contact points are used"),
            "fall_through_minutes": _("Minutes until the next one is used"),
        }
        help_texts = {
            "user": _("What this user does in the console counts as done by the contact."),
            "telling": _(
                "In order, the next one is used when one fails, and when nobody has seen an outage alert."
            ),
        }

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        user = self.fields["user"]
        assert isinstance(user, forms.ModelChoiceField)
        user.queryset = User.objects.filter(memberships__account=account).order_by("username")


class ContactPointForm(MaskedAddress):
    """One way to reach the contact. A changed address has to be verified again."""

    class Meta:
        model = ContactPoint
        fields = ["channel", "address"]
        help_texts = {"address": _("Phone numbers as +49 170 1234567.")}


ContactPoints: type[BaseInlineFormSet[ContactPoint, Contact, Any]] = forms.inlineformset_factory(
    Contact, ContactPoint, form=ContactPointForm, extra=1, max_num=10, validate_max=True, can_delete=True
)
