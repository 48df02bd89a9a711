"""The API: tokens, scopes, one account only, each idempotency key once, and its description."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER
from accounts.tokens.models import ApiToken
from accounts.tokens.services import create, revoke
from events.models import ContinuityEvent
from tests.site.routes import API

pytestmark = pytest.mark.django_db
ALL = [str(scope) for scope in ApiToken.Scope]


def make(slug: str, scopes: list[str] = ALL) -> tuple[ApiToken, str]:
    account = Account.objects.create(name=slug, slug=slug)
    return create(account.pk, SCHEDULER, f"{slug} program", scopes)


def call(secret: str, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {secret}"} | ({"Idempotency-Key": key} if key else {})
    data = "" if body is None else json.dumps(body)
    answer = Client().generic(
        method, f"/api/v1/{path}", data, content_type="application/json", headers=headers
    )
    return answer.status_code, json.loads(answer.content) if answer.content else None


def test_a_key_decides_once_and_another_body_is_refused() -> None:
    token, secret = make("ours")
    assert call(secret, "POST", "events", {"hours": 4})[0] == 422
    first = call(secret, "POST", "events", {"hours": 4}, "a")
    assert first[0] == 200
    assert call(secret, "POST", "events", {"hours": 4}, "a") == first
    status, told = call(secret, "POST", "events", {"hours": 5}, "a")
    assert (status, told["code"]) == (409, "key_reused")
    status, told = call(secret, "POST", "events", {"hours": 4}, "b")
    assert (status, told["code"]) == (409, "refused")
    extended = [call(secret, "POST", "events/active/extend", {"hours": 1}, "c") for _ in range(3)]
    assert extended[0][0] == 200
    assert extended[0] == extended[1] == extended[2]
    entries = AuditEntry.objects.filter(account=token.account_id, by=AuditEntry.By.API).order_by("number")
    assert [(one.action, one.actor_name, one.ip_address) for one in entries] == [
        ("event.activated", "ours program", "127.0.0.1"),
        ("event.extended", "ours program", "127.0.0.1"),
    ]
    assert call(secret, "GET", "status")[1]["active"] is True
    assert call(secret, "POST", "events/active/stop", {}, "d")[1]["ended"] == "stopped"
    assert call(secret, "POST", "pause", {"reason": "move"}, "e")[0] == 200
    assert call(secret, "POST", "resume", {}, "f")[0] == 200


def test_a_token_sees_its_account_and_does_what_its_scopes_say() -> None:
    token, secret = make("ours", ["events:read", "audit:read"])
    _, theirs = make("theirs")
    assert call(theirs, "POST", "events", {"hours": 1}, "a")[0] == 200
    assert call(secret, "GET", "events")[1] == {"items": [], "next": None}
    other = ContinuityEvent.objects.get().pk
    assert call(secret, "GET", f"events?before={other}")[0] == 404
    assert [one["subject"] for one in call(secret, "GET", "audit")[1]["items"]] == [f"token:{token.pk}"]
    status, told = call(secret, "POST", "pause", {}, "a")
    assert (status, told["code"]) == (403, "scope_missing")
    assert call(theirs, "DELETE", "suspensions/1")[0] == 404
    assert call(theirs, "POST", "events/active/extend", {"hours": -1}, "b")[0] == 422
    token.refresh_from_db()
    assert token.used_at
    assert secret not in token.secret_hash
    revoke(token.account_id, SCHEDULER, token.pk)
    assert call(secret, "GET", "events")[0] == 401


def test_the_description_lists_every_operation_with_its_security() -> None:
    told = json.loads(Client().get("/api/v1/openapi.json").content)
    listed = set()
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            listed.add((method.upper(), path.replace("{suspension_id}", "1")))
            assert operation["security"], path
            names = [one["name"] for one in operation.get("parameters", [])]
            assert ("Idempotency-Key" in names) == (method == "post"), path
    assert listed == set(API)
