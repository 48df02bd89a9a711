"""Forms of one account's things, saved as one audited decision."""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User

M = TypeVar("M", bound=models.Model)


def time_zones() -> list[tuple[str, str]]:
    """The zones to choose from, regions first; the odd ones of old systems are left out."""
    names = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in names)]


class TimeZoneChoice(forms.ChoiceField):
    """A choice of time zones."""

    def __init__(self, **kwargs: Any) -> None:
        options: dict[str, Any] = {"choices": time_zones, "label": _("Time zone")}
        super().__init__(**(options | kwargs))


class LanguageChoice(forms.ChoiceField):
    """A choice of the languages that Continuity speaks."""

    def __init__(self, **kwargs: Any) -> None:
        options: dict[str, Any] = {"choices": lambda: settings.LANGUAGES, "label": _("Language")}
        super().__init__(**(options | kwargs))


class AccountForm(forms.ModelForm[M], Generic[M]):
    """A form for a row of one account: constraints over the account are checked with the rest."""

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account
        if hasattr(self.instance, "account_id"):
            self.instance.account = account  # type: ignore[attr-defined]

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() - {"account"}  # type: ignore[misc, no-any-return]

    def changes(self) -> dict[str, list[str]]:
        """What the form changes, as field: [before, after], in words short enough for the audit."""
        return {
            name: [self._word(self.initial.get(name)), self._word(self.cleaned_data.get(name))]
            for name in self.changed_data
        }

    @staticmethod
    def _word(value: object) -> str:
        if isinstance(value, models.QuerySet | list | tuple):
            return ", ".join(str(getattr(one, "pk", one)) for one in value)[:200]
        return str(getattr(value, "pk", value))[:200]


class AccountNameForm(AccountForm[Account]):
    """Name and zone of the account."""

    time_zone = TimeZoneChoice()

    class Meta:
        model = Account
        fields = ["name", "time_zone"]


class UserZoneForm(forms.ModelForm[User]):
    """The zone in which a user sees times."""

    time_zone = TimeZoneChoice(label=_("Your time zone"), help_text=_("Times on these pages are told in it."))

    class Meta:
        model = User
        fields = ["time_zone"]
