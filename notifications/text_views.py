"""The texts of an account: which are its own, and the editor with its preview."""

from __future__ import annotations

from collections import defaultdict

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.services import AlreadyDone, Refused
from notifications import texts
from notifications.kinds import KINDS
from notifications.letters import letter_response
from notifications.models import MessageTemplate
from notifications.preview import preview, variables
from notifications.services import change_texts, restore_texts
from notifications.text_history import changes
from notifications.wording import problems

Part = MessageTemplate.Part


class TextsForm(forms.Form):
    """The parts of one message."""

    subject = forms.CharField(label=Part.SUBJECT.label)
    text = forms.CharField(label=Part.TEXT.label, widget=forms.Textarea(attrs={"rows": 12}))
    sms = forms.CharField(label=Part.SMS.label, widget=forms.Textarea(attrs={"rows": 4}))

    def __init__(self, kind: str, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.kind = kind

    def clean(self) -> dict[str, str]:
        """Each part, and all that is wrong with it."""
        for part, body in list(self.cleaned_data.items()):
            if wrong := problems(self.kind, part, texts.tidied(body)):
                self.add_error(part, forms.ValidationError(wrong))
        return self.cleaned_data


@require_GET
@account_required
def overview(request: ConsoleRequest) -> HttpResponse:
    """Every kind of message, and which parts of it are the account's own, by language."""
    own: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in MessageTemplate.objects.filter(account=request.account).order_by("pk"):
        own[one.kind, one.language].append(str(Part(one.part).label))
    rows = [
        (kind, about, [(code, name, own[kind, code]) for code, name in settings.LANGUAGES])
        for kind, about in KINDS.items()
    ]
    return render(request, "notifications/texts.html", {"rows": rows, "languages": settings.LANGUAGES})


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, kind: str, language: str) -> HttpResponse:
    """The editor. POST saves; with `preview` it only shows, with `restore` the shipped texts are back."""
    stored = _stored(request, kind, language)
    address = redirect("text", kind, language)
    if "restore" in request.POST:
        return carry_out(request, lambda: _restored(request, kind, language), address.url)
    if "preview" in request.POST:
        typed = _typed(request)
        return _page(request, kind, language, TextsForm(kind, initial=typed), typed)
    form = TextsForm(kind, request.POST or None, initial=stored)
    if request.method == "POST" and form.is_valid():
        try:
            changed = change_texts(
                request.account, actor(request), kind, language, form.cleaned_data,
                request_key=request_key(request),
            )  # fmt: skip
        except Refused as refused:
            messages.warning(request, str(refused))
        except AlreadyDone:
            return address
        else:
            messages.success(request, _("Saved.") if changed else _("Nothing was changed."))
            return address
    shown = {part: form[part].value() or "" for part in Part.values}
    return _page(request, kind, language, form, shown)


@require_POST
@administrator_required
def letter(request: ConsoleRequest, kind: str, language: str) -> HttpResponse:
    """The mail that is being edited, as a mail program shows it."""
    _stored(request, kind, language)
    seen = preview(request.account, request.user, kind, language, _typed(request), timezone.now())
    return letter_response(seen.html, seen.text)


def _stored(request: ConsoleRequest, kind: str, language: str) -> dict[str, str]:
    """All parts as they are sent now."""
    if kind not in KINDS or language not in dict(settings.LANGUAGES):
        raise Http404
    with translation.override(language):
        shipped = {part: texts.shipped(kind, Part(part)) for part in Part.values}
    return shipped | texts.edited_texts(request.account.pk, kind, language)


def _typed(request: ConsoleRequest) -> dict[str, str]:
    return {part: request.POST.get(part, "") for part in Part.values}


def _restored(request: ConsoleRequest, kind: str, language: str) -> str:
    restore_texts(request.account, actor(request), kind, language, request_key=request_key(request))
    return _("The shipped texts are back.")


def _page(
    request: ConsoleRequest, kind: str, language: str, form: TextsForm, bodies: dict[str, str]
) -> HttpResponse:
    now = timezone.now()
    own = MessageTemplate.objects.filter(account=request.account, kind=kind, language=language)
    context = {
        "kind": kind,
        "about": KINDS[kind],
        "language": language,
        "language_name": dict(settings.LANGUAGES)[language],
        "form": form,
        "preview": preview(request.account, request.user, kind, language, bodies, now),
        "variables": variables(request.account, request.user, kind, language, now),
        "changes": changes(request.account.pk, kind, language),
        "own": [Part(part).label for part in own.order_by("pk").values_list("part", flat=True)],
    }
    return render(request, "notifications/text.html", context)
