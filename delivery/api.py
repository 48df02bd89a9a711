"""Pausing and resuming inbound deliveries in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from accounts.api import Bearer, Key, Scope, once
from delivery import services


class Why(Schema):
    """Why, for the audit."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""


class Held(Schema):
    """A pause of inbound deliveries; it is open without `ended_at`."""

    id: int
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    ended_by: str


router = Router(tags=["pause"])


@router.post("/pause", auth=Bearer(Scope.PAUSE_WRITE), response=Held)
def pause(request: HttpRequest, asked: Why, key: Key) -> dict[str, Any]:
    """Hold inbound deliveries; what is in flight finishes."""
    return once(
        request,
        key,
        lambda account, actor, k: Held.from_orm(
            services.pause(account, actor, reason=asked.reason, request_key=k)
        ),
    )


@router.post("/resume", auth=Bearer(Scope.PAUSE_WRITE), response=Held)
def resume(request: HttpRequest, asked: Why, key: Key) -> dict[str, Any]:
    """Let inbound deliveries flow again."""
    return once(
        request,
        key,
        lambda account, actor, k: Held.from_orm(
            services.resume(account, actor, reason=asked.reason, request_key=k)
        ),
    )
