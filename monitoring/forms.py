"""The form of a monitor."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.forms import AccountForm, TimeZoneChoice
from accounts.models import Account
from delivery.models import Route
from monitoring.models import Monitor


class MonitorForm(AccountForm[Monitor]):
    """Everything of a monitor that an administrator sets."""

    time_zone = TimeZoneChoice()

    class Meta:
        model = Monitor
        fields = ["description", "route", "threshold", "contacts", "time_zone", "notes", "active"]
        widgets = {"contacts": forms.CheckboxSelectMultiple, "notes": forms.Textarea(attrs={"rows": 3})}
        labels = {"route": _("Mail server"), "contacts": _("Who is told"), "active": _("On")}
        help_texts = {
            "route": _("Real deliveries over this route are judged; without traffic it is probed."),
            "active": _("Off, it judges nothing and nobody is alerted by it."),
        }

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(account, *args, **kwargs)
        for name, queryset in (
            ("route", Route.objects.filter(account=account, kind=Route.Kind.INBOUND)),
            ("contacts", account.contacts.filter(active=True)),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = queryset.order_by("name")
