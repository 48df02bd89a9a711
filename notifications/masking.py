"""Forms of contact points: the address of an app holds secrets, which are never shown again."""

from __future__ import annotations

from typing import Any

from django import forms

from notifications.models import ContactPoint


class MaskedAddress(forms.ModelForm[ContactPoint]):
    """Shows an app's address masked, and keeps the stored one unless another is typed in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored = self.instance.address if self.instance.pk else ""
        if self._stored:
            self.initial["address"] = self.instance.shown_address

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        return self._stored if self._stored and address == self.initial["address"] else address
