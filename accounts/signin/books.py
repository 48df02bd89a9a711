"""What is written of signing in: in the audit when the user belongs to one account, else in the log.

Passwords, codes and names that belong to nobody (often a password in the wrong field) are written nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from accounts.client import client_address
from accounts.models import Membership, User
from accounts.services import SCHEDULER, Actor, decision

logger = logging.getLogger(__name__)


class Record(Protocol):
    """`accounts.services.Decision.record`, or the log in its place."""

    def __call__(self, action: str, *, subject: str = ..., reason: str = ..., **details: Any) -> object: ...


@contextmanager
def decided(user: User, actor: Actor) -> Iterator[Record]:
    """One transaction for a change to the user and its record."""
    accounts = list(Membership.objects.filter(user=user).values_list("account_id", flat=True)[:2])
    if len(accounts) == 1:
        with decision(accounts[0], actor) as made:
            yield made.record
        return

    def log(action: str, **details: Any) -> None:
        logger.info("%s user:%s from %s %s", action, user.pk, actor.ip_address, details or "")

    with transaction.atomic():
        yield log


def write(user: User, actor: Actor, action: str, **details: Any) -> None:
    """Something that happened to the user and changed nothing else."""
    with decided(user, actor) as record:
        record(action, subject=f"user:{user.pk}", **details)


def on_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_: object
) -> None:
    """A wrong password or code. Tries that the lock-out turned away are not written again."""
    if request is None or (getattr(request, "axes_locked_out", False) and not _locks_now(request)):
        return
    address = client_address(request)
    user = User.objects.filter(username=credentials.get("username") or "").first()
    if user is None:
        logger.info("user.sign_in_failed unknown user from %s", address)
        return
    write(
        user,
        replace(SCHEDULER, ip_address=address),
        "user.sign_in_failed",
        what=credentials.get("what", "password"),
    )


def on_lock_out(
    sender: object, request: HttpRequest, username: str | None, ip_address: str | None, **_: object
) -> None:
    """The failure that locks out is written; what is turned away after it is not."""
    if not _locks_now(request):
        return
    user = User.objects.filter(username=username or "").first()
    if user is None:
        logger.warning("user.locked_out unknown user from %s", ip_address)
    else:
        write(user, replace(SCHEDULER, ip_address=ip_address), "user.locked_out")


def _locks_now(request: HttpRequest) -> bool:
    return bool(getattr(request, "axes_failures_since_start", None) == settings.AXES_FAILURE_LIMIT)
