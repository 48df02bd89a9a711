"""A person's own page at `/me/<token>/`. GET shows, POST acts; no session and no console around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render as console_page
from django.template import loader
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import ConsoleRequest, administrator_required
from accounts.client import client_address
from accounts.csv_pages import csv_response
from accounts.models import Person
from accounts.people import tokens
from accounts.services import Refused
from notifications.bulk.people import FIELDS
from notifications.people import services

_HEADERS = {
    "X-Robots-Tag": "noindex, nofollow",
    # Not no-referrer: with it Django's CSRF check would refuse the forms.
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True)
class Way:
    """One way to reach the person, and the code that is on its way for it."""

    channel: str
    title: str
    label: str
    kind: str
    autocomplete: str
    address: str
    verified_at: Any
    expected: Any


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def own_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the person what is known of them; a POST asks for a code, takes it, or removes an address."""
    try:
        found = tokens.read(token)
    except tokens.Expired:
        return _page("notifications/own_page_over.html", {"expired": True}, 410)
    person = Person.objects.select_related("account").filter(pk=found).first() if found else None
    if person is None:
        return _page("notifications/own_page_over.html", {"expired": False}, 404)
    said, refused = "", ""
    if request.method == "POST":
        try:
            said = _act(request, person)
        except Refused as told:
            refused = str(told)
        person.refresh_from_db()
    context = {
        "person": person,
        "account": person.account,
        "ways": _ways(person),
        "said": said,
        "refused": refused,
        "csrf_token": get_token(request),
    }
    return _page("notifications/own_page.html", context, 200)


def _act(request: HttpRequest, person: Person) -> str:
    channel, action = request.POST.get("channel", ""), request.POST.get("action", "")
    if channel not in FIELDS or action not in ("code", "confirm", "forget"):
        raise Http404
    ip = client_address(request)
    if action == "code":
        address = services.ask_code(person, channel, request.POST.get("address", "")[:300], ip)
        return _("A code is on its way to %(to)s. Type it in below within 30 minutes.") % {"to": address}
    if action == "confirm":
        address = services.confirm(person, channel, request.POST.get("code", "")[:40], ip)
        return _("Thank you. %(to)s is confirmed.") % {"to": address}
    services.forget(person, channel, ip)
    return _("Removed. You are not reached there any more.")


def _ways(person: Person) -> list[Way]:
    expected = services.latest(person, timezone.now())
    email = (_("E-mail address elsewhere"), _("Address"), "email", "email", person.alternate_address)
    phone = (_("Mobile phone, for SMS"), _("Number with its country code"), "tel", "tel", person.phone)
    return [
        Way("email", *email, person.alternate_verified_at, expected.get("email")),
        Way("sms", *phone, person.phone_verified_at, expected.get("sms")),
    ]


def _page(template: str, context: dict[str, object], status: int) -> HttpResponse:
    """Rendered without the console's context processors."""
    response = HttpResponse(loader.get_template(template).render(context), status=status)
    for name, value in _HEADERS.items():
        response[name] = value
    return response


@require_http_methods(["POST"])
@administrator_required
def link(request: ConsoleRequest, pk: int) -> HttpResponse:
    """A personal link to copy: shown when it is asked for, as it lets its holder change the person's data."""
    person = Person.objects.filter(account=request.account, pk=pk).first()
    if person is None:
        raise Http404
    context = {"person": person, "link": tokens.own_page(person.pk), "days": tokens.LIFETIME.days}
    return console_page(request, "notifications/person_link.html", context)


@require_http_methods(["POST"])
@administrator_required
def links(request: ConsoleRequest) -> HttpResponse:
    """Everybody with their personal link as CSV, for a mail merge while the mail server works."""
    people = Person.objects.filter(account=request.account).order_by("name", "pk")
    found = people.values_list("pk", "address", "name").iterator(chunk_size=2000)
    rows = ((address, name, tokens.own_page(pk)) for pk, address, name in found)
    return csv_response("personal-links.csv", ["address", "name", "link"], rows)  # type: ignore[return-value]
