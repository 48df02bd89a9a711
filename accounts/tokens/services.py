"""API tokens are made, found and revoked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from accounts.services import Actor, Refused, decision
from accounts.tokens.models import ApiToken

PREFIX = "cty_"
NOTED_EVERY = timedelta(hours=1)
"""The time of last use is written at most so often."""


def create(
    account_id: int, actor: Actor, name: str, scopes: Sequence[str], *, request_key: str | None = None
) -> tuple[ApiToken, str]:
    """A new token and its secret, which nobody can read again. Raises AlreadyDone."""
    secret = PREFIX + secrets.token_urlsafe(32)
    with decision(account_id, actor, request_key=request_key) as made:
        token = ApiToken.objects.create(
            account_id=account_id,
            name=name,
            scopes=sorted(scopes),
            secret_hash=_hash(secret, settings.SECRET_KEY),
            made_at=made.now,
            made_by=actor.name,
        )
        made.record("token.created", subject=f"token:{token.pk}", after=name, scopes=token.scopes)
    return token, secret


def revoke(account_id: int, actor: Actor, token_id: int, *, request_key: str | None = None) -> None:
    """The token counts no more, from now on. Raises Refused where there is none that counts; AlreadyDone."""
    with decision(account_id, actor, request_key=request_key) as made:
        found = ApiToken.objects.filter(pk=token_id, account=account_id, revoked_at=None)
        if found.update(revoked_at=made.now) != 1:
            raise Refused(_("There is no such token any more."))
        made.record("token.revoked", subject=f"token:{token_id}", before="active", after="revoked")


def find(secret: str, now: datetime) -> ApiToken | None:
    """The token of that secret unless it was revoked; notes about once an hour that it is used."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    hashes = [_hash(secret, key) for key in keys]
    token = ApiToken.objects.filter(secret_hash__in=hashes, revoked_at=None).first()
    if token and (token.used_at is None or token.used_at <= now - NOTED_EVERY):
        stale = Q(used_at=None) | Q(used_at__lte=now - NOTED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(used_at=now)
    return token


def _hash(secret: str, key: str) -> str:
    return salted_hmac("continuity.api-token", secret, key, algorithm="sha256").hexdigest()
