"""Forms of signing in and of one's own sign-in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from accounts.models import User


class CodeForm(forms.Form):
    """A code of the authenticator app, or a recovery code."""

    code = forms.CharField(
        label=_lazy("Code"),
        max_length=40,
        help_text=_lazy("Six digits from your authenticator app, or one of your recovery codes."),
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True}),
    )


class PasswordForm(forms.Form):
    """The user's password once more, before something that an unlocked screen must not give away.

    A wrong one counts towards the lock-out. Who has none, as they come by a provider, is not asked.
    """

    password = forms.CharField(
        label=_lazy("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, request: HttpRequest, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.user = request, user
        if not user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        if authenticate(self.request, username=self.user.get_username(), password=password) != self.user:
            raise forms.ValidationError(_("This is not your password."))
        return password


class SetUpForm(forms.Form):
    """The first code of an app that was just set up."""

    code = forms.CharField(
        label=_lazy("Code"),
        max_length=40,
        help_text=_lazy("Six digits."),
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class ReplaceForm(SetUpForm, PasswordForm):
    """The first code of an app that takes the place of another."""

    field_order = ("code", "password")
