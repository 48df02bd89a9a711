"""What every operation of the API shares: tokens, scopes, idempotency keys and errors; and the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from ninja import Header, Query, Router, Schema
from ninja.security import HttpBearer

from accounts import feed
from accounts.client import client_address
from accounts.models import Account, AuditEntry
from accounts.services import Actor, AlreadyDone
from accounts.tokens.models import ApiRequest, ApiToken
from accounts.tokens.services import find

Scope = ApiToken.Scope
Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
Limit = Annotated[int, Query(ge=1, le=200)]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]


class Problem(Exception):  # noqa: N818  (an answer)
    """A request that is answered with an error: its status, a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Bearer(HttpBearer):
    """A token that holds the scope."""

    def __init__(self, scope: ApiToken.Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        found = find(token, timezone.now())
        if found and self.scope not in found.scopes:
            raise Problem(403, "scope_missing", f"This token lacks the scope {self.scope}.")
        return found


def token_of(request: HttpRequest) -> ApiToken:
    """The token that `Bearer` found."""
    found: ApiToken = request.auth  # type: ignore[attr-defined]
    return found


def api_actor(request: HttpRequest) -> Actor:
    """The token as the one who decides."""
    token = token_of(request)
    return Actor(AuditEntry.By.API, token.name, token.pk, client_address(request))


def once(request: HttpRequest, key: str, do: Callable[[int, Actor, str], Schema]) -> dict[str, Any]:
    """Do what was asked once for each key, and answer the same each time.

    `do` gets the account, the actor and the request key of its decision. A refusal is not kept: asked
    again, it is tried again. Raises Problem when the key came with another request.
    """
    token, actor = token_of(request), api_actor(request)
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    asked = b"\0".join([request.path.encode(), request.body])
    body_hash = hashlib.sha256(asked).hexdigest()
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=token.account_id)
        before = ApiRequest.objects.filter(token=token, key_hash=key_hash).first()
        if before is not None:
            if before.body_hash != body_hash:
                raise Problem(409, "key_reused", "This Idempotency-Key was used for another request.")
            return dict(before.answer)
        try:
            done = do(token.account_id, actor, f"api:{token.pk}:{key_hash[:40]}")
        except AlreadyDone as already:
            raise Problem(409, "already_done", "This request was done before.") from already
        answer = done.model_dump(mode="json")
        ApiRequest.objects.create(
            token=token, key_hash=key_hash, body_hash=body_hash, answer=answer, made_at=timezone.now()
        )
    return answer


class Entry(Schema):
    """One decision. `number` is gapless in the account."""

    number: int
    at: datetime
    by: str
    actor_name: str
    ip_address: str | None
    action: str
    subject: str
    before: str
    after: str
    reason: str
    details: dict[str, Any]
    hash: str


class Entries(Schema):
    """A page of decisions, the newest first. `next` is the `before` of the next page."""

    items: list[Entry]
    next: int | None


audit = Router(tags=["audit"])


@audit.get("", auth=Bearer(Scope.AUDIT_READ), response=Entries)
def list_audit(request: HttpRequest, before: Before = None, limit: Limit = 50) -> dict[str, Any]:
    """The decisions of the account, the newest first."""
    found = feed.page(token_of(request).account_id, feed.Criteria(), before, limit)
    return {"items": found.entries, "next": found.next}
