"""The writer of settings: one form, one decision, one audit row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import models

from accounts.forms import AccountForm
from accounts.models import Account
from accounts.services import Actor, Decision, decision

M = TypeVar("M", bound=models.Model)


def save_settings(
    account: Account,
    actor: Actor,
    form: AccountForm[M],
    *,
    request_key: str | None = None,
    then: Callable[[Decision], object] = lambda _decided: None,
) -> M:
    """Save a valid form and record what it changed. Raises AlreadyDone for a form sent twice.

    `then` is what a higher app makes of the change, within the same decision.
    """
    changes, new = form.changes(), form.instance.pk is None
    with decision(account.pk, actor, request_key=request_key) as decided:
        saved = form.save()
        decided.record(
            "settings.added" if new else "settings.changed",
            subject=f"{saved._meta.model_name}:{saved.pk}",
            after=str(saved)[:160],
            changes=changes,
        )
        then(decided)
    return saved


def delete_settings(
    account: Account, actor: Actor, row: models.Model, *, request_key: str | None = None
) -> None:
    """Delete a row of the account's settings and record that it was there. Raises AlreadyDone."""
    with decision(account.pk, actor, request_key=request_key) as decided:
        decided.record("settings.removed", subject=f"{row._meta.model_name}:{row.pk}", before=str(row)[:160])
        row.delete()
