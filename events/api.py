"""Events and suspensions in the API: the console's services, under a token."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from accounts.api import Bearer, Before, Key, Limit, Problem, Scope, api_actor, once, token_of
from accounts.models import Contact
from events import services
from events.models import ContinuityEvent
from events.services.suspending import end
from notifications.models import Suspension


class Hours(Schema):
    """For how many hours."""

    model_config = ConfigDict(extra="forbid")
    hours: Annotated[int, Field(strict=True, ge=1, le=720)]


class NewEvent(Hours):
    """An event that begins now."""

    title: Annotated[str, Field(max_length=120, pattern=r"^[^\x00]*$")] = ""


class NewSuspension(Hours):
    """Whom to silence: a contact, or everybody."""

    contact_id: Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)] | None = None


class Reason(Schema):
    """Why, for the audit."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""


class Event(Schema):
    """A continuity event."""

    id: int
    title: str
    state: str
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    began: str
    began_by: str
    ended: str
    ended_by: str


class Events(Schema):
    """A page of events, the newest first. `next` is the `before` of the next page."""

    items: list[Event]
    next: int | None


class Silence(Schema):
    """Who is not alerted until when; without a contact it is everybody."""

    id: int
    contact_id: int | None
    made_at: datetime
    made_by: str
    until: datetime


events = Router(tags=["events"])
suspensions = Router(tags=["suspensions"])
_WRITE = Bearer(Scope.EVENTS_WRITE)


@events.get("", auth=Bearer(Scope.EVENTS_READ), response=Events)
def list_events(request: HttpRequest, before: Before = None, limit: Limit = 50) -> dict[str, Any]:
    """The events of the account by their begin, the newest first."""
    own = ContinuityEvent.objects.filter(account=token_of(request).account_id)
    found = own.order_by("-starts_at", "-pk")
    if before is not None:
        last = own.filter(pk=before).values_list("starts_at", flat=True).first()
        if last is None:
            raise Problem(404, "not_found", "There is no such event to go on from.")
        found = found.filter(Q(starts_at__lt=last) | Q(pk__lt=before), starts_at__lte=last)
    rows = list(found[: limit + 1])
    return {"items": rows[:limit], "next": rows[limit - 1].pk if len(rows) > limit else None}


@events.post("", auth=_WRITE, response=Event)
def activate(request: HttpRequest, asked: NewEvent, key: Key) -> dict[str, Any]:
    """Begin continuity mode now."""
    began = ContinuityEvent.Began.API

    def do(account: int, actor: Any, request_key: str) -> Event:
        title = asked.title.strip()
        event = services.activate(
            account, actor, asked.hours, began=began, title=title, request_key=request_key
        )
        return Event.from_orm(event)

    return once(request, key, do)


@events.post("/active/extend", auth=_WRITE, response=Event)
def extend(request: HttpRequest, asked: Hours, key: Key) -> dict[str, Any]:
    """Add hours to the end of the active event."""
    return once(
        request,
        key,
        lambda account, actor, k: Event.from_orm(services.extend(account, actor, asked.hours, request_key=k)),
    )


@events.post("/active/stop", auth=_WRITE, response=Event)
def stop(request: HttpRequest, asked: Reason, key: Key) -> dict[str, Any]:
    """End the active event now."""
    return once(
        request,
        key,
        lambda account, actor, k: Event.from_orm(
            services.stop(account, actor, reason=asked.reason, request_key=k)
        ),
    )


@suspensions.get("", auth=Bearer(Scope.NOTIFICATIONS_READ), response=list[Silence])
def list_suspensions(request: HttpRequest) -> Any:
    """The suspensions that run now."""
    account = token_of(request).account_id
    return list(Suspension.objects.filter(account=account, until__gt=timezone.now()).order_by("until", "pk"))


@suspensions.post("", auth=Bearer(Scope.NOTIFICATIONS_WRITE), response=Silence)
def suspend(request: HttpRequest, asked: NewSuspension, key: Key) -> dict[str, Any]:
    """Suspend outage alerts for 1, 2, 4, 8 or 24 hours more."""

    def do(account: int, actor: Any, request_key: str) -> Silence:
        contact = None
        if asked.contact_id is not None:
            contact = Contact.objects.filter(pk=asked.contact_id, account=account).first()
        if asked.contact_id is not None and contact is None:
            raise Problem(404, "not_found", "There is no such contact.")
        made = services.suspend(account, actor, asked.hours, contact=contact, request_key=request_key)
        return Silence.from_orm(made)

    return once(request, key, do)


@suspensions.delete("/{int:suspension_id}", auth=Bearer(Scope.NOTIFICATIONS_WRITE), response={204: None})
def end_suspension(request: HttpRequest, suspension_id: int) -> tuple[int, None]:
    """End a suspension now."""
    if suspension_id > 2**63 - 1 or not end(token_of(request).account_id, api_actor(request), suspension_id):
        raise Problem(404, "not_found", "There is no such suspension that still runs.")
    return 204, None
