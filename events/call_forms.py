"""A call as it is taken down on the phone, and which calls to show."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Account, Person
from events.models import ContinuityEvent, SupportCall
from notifications.bulk.reads import found_people

CANDIDATES = 8
RECENT_EVENTS = 20
NOBODY = "none"


class CallForm(forms.Form):
    """Who called and what about. Who is searched for among the people; where several fit, it asks which.

    After `is_valid()`, `found` is whom the call is linked to. `candidates` are set when the form has to ask.
    """

    who = forms.CharField(
        label=gettext_lazy("Who is calling"),
        max_length=120,
        help_text=gettext_lazy("Name or address, or a part of it."),
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
    )
    person = forms.CharField(label=gettext_lazy("Which one?"), required=False, widget=forms.RadioSelect)
    asked = forms.CharField(required=False, widget=forms.HiddenInput)
    what = forms.CharField(
        label=gettext_lazy("What about"),
        max_length=2000,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    event = forms.ModelChoiceField(
        ContinuityEvent.objects.none(),
        label=gettext_lazy("Event"),
        required=False,
        empty_label=gettext_lazy("None"),
    )
    settled = forms.BooleanField(label=gettext_lazy("Settled already"), required=False)

    def __init__(self, account: Account, data: Any = None, *, event: int | None = None) -> None:
        super().__init__(data)
        self.account = account
        self.found: Person | None = None
        self.candidates: list[Person] = []
        recent = account.events.order_by("-starts_at").values("pk")[:RECENT_EVENTS]
        field = self.fields["event"]
        assert isinstance(field, forms.ModelChoiceField)
        # By key: a slice cannot be narrowed down to the one that was chosen.
        field.queryset = account.events.filter(pk__in=list(recent.values_list("pk", flat=True))).order_by(
            "-starts_at"
        )
        field.initial = event or self._likely_event()

    def _likely_event(self) -> int | None:
        """The active event, or the one whose checklist is open: calls are mostly about it."""
        likely = Q(state=ContinuityEvent.State.ACTIVE, ends_at__gt=timezone.now())
        likely |= Q(checklist__isnull=False, checklist__closed_at=None)
        return self.account.events.filter(likely).order_by("-starts_at").values_list("pk", flat=True).first()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        who = cleaned.get("who", "")
        if who:
            self._find(who)
        return cleaned

    def _find(self, who: str) -> None:
        """Whom the words mean; asks when they fit several, or one only in part."""
        answered = self.data.get("asked") == who
        chosen = str(self.data.get("person", "")) if answered else ""
        people = found_people(self.account.pk, q=who)
        if chosen.isascii() and chosen.isdigit() and len(chosen) < 19:
            self.found = people.filter(pk=int(chosen)).first()
            if self.found:
                return
        if chosen == NOBODY:
            return
        exact = list(people.filter(Q(address__iexact=who) | Q(name__iexact=who))[:2])
        if len(exact) == 1:
            self.found = exact[0]
            return
        self.candidates = list(people[:CANDIDATES])
        if self.candidates:
            self._ask(who)

    def _ask(self, who: str) -> None:
        choices = [(str(one.pk), f"{one.name}, {one.address}") for one in self.candidates]
        widget = self.fields["person"].widget
        assert isinstance(widget, forms.RadioSelect)
        widget.choices = [*choices, (NOBODY, _("Nobody of these: keep “%(who)s” as it is") % {"who": who})]
        widget.attrs["autofocus"] = True  # one more Enter, or an arrow key before it
        del self.fields["who"].widget.attrs["autofocus"]
        self.data = {name: self.data[name] for name in self.data} | {"asked": who, "person": choices[0][0]}
        self.add_error("person", _("Choose, and log the call again."))


class CallFilter(forms.Form):
    """Which calls to show. Sent by GET, so that the result has an address."""

    q = forms.CharField(label=gettext_lazy("Caller or subject contains"), required=False, max_length=120)
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[
            ("", gettext_lazy("All")),
            ("open", gettext_lazy("Open")),
            ("settled", gettext_lazy("Settled")),
        ],
    )
    of = forms.IntegerField(required=False, min_value=1, max_value=2**60, widget=forms.HiddenInput)

    def calls(self, account: Account) -> QuerySet[SupportCall]:
        """The calls that the filter lets through, the latest first; all while it makes no sense."""
        found = SupportCall.objects.filter(account=account).order_by("-pk").select_related("event")
        wanted = self.cleaned_data if self.is_valid() else {}
        if q := wanted.get("q"):
            found = found.filter(Q(name__icontains=q) | Q(what__icontains=q))
        if wanted.get("state"):
            found = found.filter(settled_at__isnull=wanted["state"] == "open")
        return found.filter(event=wanted["of"]) if wanted.get("of") else found
