"""The portal at `/m/<token>/`: for a phone at 3 a.m. GET shows, POST acts, nothing else changes anything."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec
from zoneinfo import ZoneInfo

from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template import loader
from django.utils import timezone, translation
from django.views.decorators.http import require_http_methods

from accounts.client import client_address
from accounts.services import Refused
from events import portal as actions
from events import reads, rules, tokens
from events.models import ManageLink

logger = logging.getLogger(__name__)

P = ParamSpec("P")
LinkView = Callable[Concatenate[HttpRequest, ManageLink, datetime, P], HttpResponse]
TokenView = Callable[..., HttpResponse]

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    # Not no-referrer: with it Django's CSRF check would refuse the forms.
    "Referrer-Policy": "same-origin",
}


def with_link(view: LinkView[P]) -> TokenView:
    """Resolve the token to a link that works. Whoever has none that does sees a page without any fact."""

    @wraps(view)
    def resolved(request: HttpRequest, token: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        now = timezone.now()
        link_id = tokens.read(token)
        link = reads.link_by_id(link_id) if link_id is not None else None
        with translation.override(link.contact.language if link else None):
            if link is None:
                response = _page(request, "events/portal_unknown.html", {}, 404)
            elif not link.works(now) or not link.contact.active:
                response = _page(request, "events/portal_over.html", {}, 410)
            else:
                response = view(request, link, now, *args, **kwargs)
        for name, value in _HEADERS.items():
            response[name] = value
        return response

    return resolved


@require_http_methods(["GET", "HEAD"])
@with_link
def show(request: HttpRequest, link: ManageLink, now: datetime) -> HttpResponse:
    """The page. `?done=` names the audit row of what was just done."""
    done = request.GET.get("done", "")
    if request.method == "GET" and not done:
        _note_opening(link, now)
    return _portal(request, link, now, {"confirmation": actions.confirmation(link, done, now)})


@require_http_methods(["GET", "HEAD", "POST"])
@with_link
def act(request: HttpRequest, link: ManageLink, now: datetime, action: str) -> HttpResponse:
    """POST does it and redirects to the page; a refusal is shown with the present state (409)."""
    home = redirect("portal", token=tokens.make(link))
    if action not in actions.ACTIONS:
        return _page(request, "events/portal_unknown.html", {}, 404)
    if request.method != "POST":
        return _confirm_stop(request, link, now) if action == "stop" else home
    try:
        number = actions.perform(link, action, request.POST, client_address(request), now)
    except Refused as refused:
        return _portal(request, link, timezone.now(), {"refused": str(refused)}, 409)
    home.status_code = 303
    home["Location"] += f"?done={number}"
    return home


def _confirm_stop(request: HttpRequest, link: ManageLink, now: datetime) -> HttpResponse:
    state = reads.status(link.account_id, now, link.contact)
    if state.event is None:
        return redirect("portal", token=tokens.make(link))
    return _page(request, "events/portal_stop.html", _context(request, link, now) | {"status": state})


def _portal(
    request: HttpRequest, link: ManageLink, now: datetime, extra: dict[str, object], status: int = 200
) -> HttpResponse:
    state = reads.status(link.account_id, now, link.contact)
    context = _context(request, link, now) | {"status": state, "hours": rules.HOURS} | extra
    return _page(request, "events/portal.html", context, status)


def _context(request: HttpRequest, link: ManageLink, now: datetime) -> dict[str, object]:
    return {
        "link": link,
        "account": link.account,
        "contact": link.contact,
        "token": tokens.make(link),
        "zone": ZoneInfo(link.contact.time_zone),
        "now": now,
        "nonce": secrets.token_urlsafe(18),
        "csrf_token": get_token(request),
    }


def _page(request: HttpRequest, template: str, context: dict[str, object], status: int = 200) -> HttpResponse:
    """Rendered without the console's context processors: no session, no user, no account but the link's."""
    return HttpResponse(loader.get_template(template).render(context), status=status)


def _note_opening(link: ManageLink, now: datetime) -> None:
    """Opening is logged apart from acting; a database that cannot write must not hide the page."""
    try:
        with transaction.atomic():
            ManageLink.objects.filter(pk=link.pk).note_opening(now)
    except DatabaseError:
        logger.exception("opening of link %s was not noted", link.pk)
