"""The time between the right password and the right code: kept in the session, signed in nowhere."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.access import user_actor
from accounts.models import User
from accounts.signin import books, second_factor

KEY = "half_signed_in"
MINUTES = 10


def begin(request: HttpRequest, user: User, target: str) -> None:
    """The password was right; the code is asked for within ten minutes. `target` is where to go then."""
    request.session[KEY] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "backend": getattr(user, "backend", settings.AUTHENTICATION_BACKENDS[-1]),
        "target": target,
        "until": (timezone.now() + timedelta(minutes=MINUTES)).isoformat(),
    }


def of(request: HttpRequest) -> tuple[User, str] | None:
    """Whose password it was and where they go, or None when that was too long ago or is no longer so."""
    kept = request.session.get(KEY)
    if not kept or datetime.fromisoformat(kept["until"]) < timezone.now():
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is None or not constant_time_compare(kept["hash"], user.get_session_auth_hash()):
        return None
    user.backend = kept["backend"]
    return user, kept["target"]


def finish(request: HttpRequest, user: User, by: str) -> None:
    """Sign the user in for the hours that a session lasts; `by` is password, app or recovery."""
    request.session.pop(KEY, None)
    if not request.user.is_authenticated:
        login(request, user)
        ends = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
        request.session.set_expiry(ends)
    if by in ("app", "recovery"):
        verified(request)
    books.write(user, user_actor(request, user), "user.signed_in", by=by)


def verified(request: HttpRequest) -> None:
    """This session has given its second factor. A new key, for the old one could do less."""
    request.session.cycle_key()
    request.session[second_factor.VERIFIED] = timezone.now().isoformat()
