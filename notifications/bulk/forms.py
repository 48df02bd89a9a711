"""Forms: a notice as it is written, and which people to show."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.forms import AccountForm
from accounts.models import Account, Group
from notifications.bulk.models import Notice


class NoticeForm(AccountForm[Notice]):
    """Text, whom it is for, and by which way."""

    class Meta:
        model = Notice
        fields = ["subject", "text", "sms_text", "way", "everybody", "groups"]
        labels = {
            "text": gettext_lazy("Text of the e-mail"),
            "way": gettext_lazy("Sent by"),
            "everybody": gettext_lazy("Everybody"),
        }
        widgets = {
            "text": forms.Textarea(attrs={"rows": 9}),
            "sms_text": forms.Textarea(attrs={"rows": 3}),
            "way": forms.RadioSelect,
            "groups": forms.CheckboxSelectMultiple,
        }
        help_texts = {
            "text": gettext_lazy("{link} becomes each person's own page, to check how they are reached."),
            "sms_text": gettext_lazy(
                "Needed when somebody is reached by SMS, also because the e-mail failed."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = self.fields["groups"]
        assert isinstance(groups, forms.ModelMultipleChoiceField)
        groups.queryset = self.account.groups.order_by("name", "pk")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("everybody") and not cleaned.get("groups"):
            self.add_error("everybody", _("Choose everybody, or at least one group."))
        if cleaned.get("way") == Notice.Way.SMS and not cleaned.get("sms_text", "").strip():
            self.add_error("sms_text", _("Write the text of the SMS."))
        return cleaned


class PeopleFilter(forms.Form):
    """Which people to show. Sent by GET, so that the result has an address."""

    q = forms.CharField(label=gettext_lazy("Name or address contains"), required=False, max_length=200)
    group = forms.ModelChoiceField(
        Group.objects.none(), label=gettext_lazy("Group"), required=False, empty_label=gettext_lazy("All")
    )
    reach = forms.ChoiceField(
        label=gettext_lazy("Reached by"),
        required=False,
        choices=[
            ("", gettext_lazy("All")),
            ("email", gettext_lazy("E-mail")),
            ("sms", gettext_lazy("SMS")),
            ("none", gettext_lazy("Cannot be reached")),
            ("unverified", gettext_lazy("Nothing verified")),
        ],
    )

    def __init__(self, account: Account, data: Any) -> None:
        super().__init__(data, auto_id="filter-%s")
        group = self.fields["group"]
        assert isinstance(group, forms.ModelChoiceField)
        group.queryset = account.groups.order_by("name", "pk")
