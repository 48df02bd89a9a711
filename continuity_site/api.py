"""`/api/v1/`: the operations of all apps together, the status, and how errors are told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError

from accounts.api import Bearer, Problem, Scope, audit, token_of
from accounts.services import Refused
from continuity_site import overview
from delivery.api import router as pausing
from delivery.reads import queue_by_route
from events.api import Event, events, suspensions

# No page of documentation: it needs scripts from elsewhere, which the policy of contents refuses.
api = NinjaAPI(title="Continuity", version="1", docs_url=None, urls_namespace="api-v1")
api.add_router("/events", events)
api.add_router("/suspensions", suspensions)
api.add_router("", pausing)
api.add_router("/audit", audit)


class Status(Schema):
    """Continuity mode, the flow of inbound mail, and the queue. `flow`: a mail server's state or a pause."""

    now: datetime
    active: bool
    event: Event | None
    flow: str
    flow_since: datetime | None
    queued: int
    oldest: datetime | None
    open_outages: int


@api.get("/status", auth=Bearer(Scope.STATUS_READ), response=Status, tags=["status"])
def status(request: HttpRequest) -> dict[str, Any]:
    """How the account is now."""
    account, now = token_of(request).account, timezone.now()
    event, routes = overview.active_event(account, now), queue_by_route(account.pk)
    flow = overview.flow(account, routes, now)
    return {
        "now": now,
        "active": event is not None,
        "event": event,
        "flow": flow.state,
        "flow_since": flow.since,
        "queued": sum(route.queued for route in routes),
        "oldest": min((route.oldest for route in routes if route.oldest), default=None),
        "open_outages": len(overview.open_outages(account)),
    }


def _error(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    return api.create_response(request, {"code": code, "detail": detail}, status=status)


@api.exception_handler(Problem)
def _problem(request: HttpRequest, error: Problem) -> HttpResponse:
    return _error(request, error.status, error.code, error.detail)


@api.exception_handler(Refused)
def _refused(request: HttpRequest, error: Refused) -> HttpResponse:
    return _error(request, 409, "refused", str(error))


@api.exception_handler(AuthenticationError)
def _unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    response = _error(request, 401, "unauthorized", "A valid token is needed: Authorization: Bearer …")
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    told = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors)
    return _error(request, 422, "invalid", told)


@api.exception_handler(HttpError)
def _http(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _error(request, error.status_code, "bad_request", str(error))


@api.exception_handler(Http404)
def _missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return _error(request, 404, "not_found", "There is nothing at this address.")
