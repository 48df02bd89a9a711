"""History: every decision of the account in one list, with filters, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_GET

from accounts import feed
from accounts.access import ConsoleRequest, account_required
from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER
from continuity_site.templatetags.console import audit_word

TOPICS = {
    "event": _lazy("Continuity events"),
    "outage": _lazy("Outages"),
    "alert": _lazy("Alerts"),
    "notifications": _lazy("Suspensions"),
    "pause": _lazy("Pauses"),
    "call": _lazy("Support calls"),
    "checklist": _lazy("Checklists"),
    "drill": _lazy("Drills"),
    "route": _lazy("Mail servers"),
    "monitor": _lazy("Monitors"),
    "queue": _lazy("Actions on the queue"),
    "message": _lazy("Messages"),
    "drain": _lazy("Queues that are through"),
    "expiry": _lazy("Warnings before bounces"),
    "notice": _lazy("Notices"),
    "contact": _lazy("Contacts"),
    "contact_point": _lazy("Contact points"),
    "link": _lazy("Links"),
    "recipients": _lazy("Recipients"),
    "settings": _lazy("Settings"),
    "text": _lazy("Texts"),
    "user": _lazy("Sign-in"),
}
"""The first word of an action, for the filter. One that is missing here is still found by words."""
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)
MAX_WORDS = 6


class _Day(forms.DateInput):
    input_type = "date"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%d")


class HistoryFilter(forms.Form):
    """The filter bar. It is sent by GET, so that a filtered history has an address."""

    topic = forms.ChoiceField(label=_lazy("Kind"), required=False)
    who = forms.CharField(label=_lazy("Who"), required=False, max_length=120)
    subject = forms.CharField(label=_lazy("About"), required=False, max_length=160)
    words = forms.CharField(label=_lazy("Words"), required=False, max_length=120)
    since = forms.DateField(label=_lazy("From"), required=False, widget=_Day)
    until = forms.DateField(label=_lazy("Until"), required=False, widget=_Day)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    def __init__(self, data: Any) -> None:
        super().__init__(data, auto_id="filter-%s")
        chosen, topic = self.fields["topic"], str(data.get("topic", ""))
        assert isinstance(chosen, forms.ChoiceField)
        others = [(topic, audit_word(topic))] if topic and topic not in TOPICS else []
        chosen.choices = [("", _("Everything")), *TOPICS.items(), *others]
        self.fields["who"].widget.attrs["list"] = "names"
        self.fields["subject"].widget.attrs["placeholder"] = "event:12"
        for name in ("since", "until"):
            self.fields[name].validators += [MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)]

    def clean_words(self) -> str:
        words = str(self.cleaned_data["words"])
        if len(words.split()) > MAX_WORDS:
            raise forms.ValidationError(_("At most %(n)s words."), params={"n": MAX_WORDS})
        return words

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.get("since") and found.get("until") and found["until"] < found["since"]:
            self.add_error("until", _("This is before the first day."))
        return found

    @property
    def filtered(self) -> bool:
        return any(self.data.get(name) for name in self.fields if name != "before")

    def criteria(self) -> feed.Criteria:
        """Of a valid form. Days are those of the page's zone, the last one included."""
        wanted = self.cleaned_data
        last = wanted["until"] + timedelta(days=1) if wanted["until"] else None
        return feed.Criteria(
            **{name: wanted[name] for name in ("topic", "who", "subject", "words")},
            since=_midnight(wanted["since"]),
            until=_midnight(last),
        )


def _midnight(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time.min)) if day else None


@require_GET
@account_required
def history(request: ConsoleRequest) -> HttpResponse:
    """What was decided in the account, the newest first."""
    form = HistoryFilter(request.GET)
    found = feed.Found()
    if form.is_valid():
        found = feed.page(request.account.pk, form.criteria(), form.cleaned_data["before"])
    context = {"form": form, "found": found, "names": _names(request.account), "scan": feed.SCAN}
    return render(request, "continuity_site/history.html", context)


def _names(account: Account) -> list[str]:
    """Who may have decided something: offered while typing. Those who left can be typed, too."""
    users = [one.user for one in account.memberships.select_related("user").order_by("pk")[:200]]
    names = {user.get_full_name() or user.username for user in users}
    names.update(account.contacts.order_by("pk").values_list("name", flat=True)[:200])
    return [SCHEDULER.name, *sorted(names)]


@require_GET
@account_required
def history_csv(request: ConsoleRequest) -> HttpResponseBase:
    """What the filter finds, all of it, as CSV."""
    form = HistoryFilter(request.GET)
    if not form.is_valid():
        return render(
            request, "continuity_site/history.html", {"form": form, "found": feed.Found()}, status=400
        )
    lines = _lines(request.account.pk, form.criteria())
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    name = f"history-{request.account.slug}-{timezone.localdate():%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@dataclass
class _Echo:
    """What csv writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def _lines(account_id: int, criteria: feed.Criteria) -> Iterator[str]:
    """Lines in UTF-8 with the mark by which Excel knows it; streamed, so that a million take no memory."""
    writer = csv.writer(_Echo())
    head = ("Number", "Time (UTC)", "Decision", "Action", "About", "Before", "After", "Who", "How", "Address")
    yield "\ufeff" + writer.writerow([*head, "Reason", "Hash"])
    lines: list[str] = []
    for entry in feed.everything(account_id, criteria):
        lines.append(writer.writerow([harmless(value) for value in _values(entry)]))
        if len(lines) == 500:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def _values(entry: AuditEntry) -> list[object]:
    return [
        entry.number,
        f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        audit_word(entry.action),
        *(entry.action, entry.subject, entry.before, entry.after, entry.actor_name),
        *(entry.get_by_display(), entry.ip_address or "", entry.reason, entry.hash),
    ]


def harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, as a text (OWASP: CSV injection)."""
    if isinstance(value, str) and value.lstrip(" ")[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        return "'" + value if value.strip(" ") else value
    return value
