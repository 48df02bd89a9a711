"""Sessions that know whose they are, so that a user can see and end them.

Django's database sessions with columns beside the sealed data (SESSION_ENGINE names this module).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import DatabaseError, models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django_stubs_ext.db.models import TypedModelMeta

from accounts.client import client_address

logger = logging.getLogger(__name__)
SEEN_EVERY = timedelta(minutes=1)
NAME_CHARACTERS = 24

# What a browser calls itself contains the names of the others: the first that fits is it.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone|iPad", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


class Session(AbstractBaseSession):
    """A browser that is signed in, or about to. Its key is a secret: pages speak of `name`."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="sessions"
    )
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    browser = models.CharField(max_length=200, blank=True)
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta(TypedModelMeta):
        app_label = "accounts"

    @classmethod
    def get_session_store_class(cls) -> type[SessionStore]:
        return SessionStore

    @property
    def name(self) -> str:
        """Names the session in a form, and lets nobody in."""
        return salted_hmac("accounts.session", self.session_key).hexdigest()[:NAME_CHARACTERS]

    @property
    def browser_words(self) -> str:
        """Such as “Firefox, Linux”, by what the browser says of itself."""
        found = [
            next((word for pattern, word in words if re.search(pattern, self.browser)), "")
            for words in (_BROWSERS, _SYSTEMS)
        ]
        return ", ".join(word for word in found if word) or _("Unknown browser")


class SessionStore(db.SessionStore):
    """`ip_address` and `browser` are of the request that is being answered."""

    ip_address: str | None = None
    browser = ""
    row: Session | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def _get_session_from_db(self) -> Session | None:
        self.row = super()._get_session_from_db()  # type: ignore[misc]
        return self.row

    def create_model_instance(self, data: Mapping[str, Any]) -> Session:
        row: Session = super().create_model_instance(data)  # type: ignore[assignment, arg-type]
        user = data.get(SESSION_KEY)
        row.user_id = int(user) if user else None
        row.ip_address = self.ip_address or (self.row.ip_address if self.row else None)
        row.browser = self.browser or (self.row.browser if self.row else "")
        row.seen_at = timezone.now()
        row.began_at = self.row.began_at if self.row and self.row.user_id == row.user_id else row.seen_at
        return row


def arrive(request: HttpRequest) -> None:
    """Tell the session where this request comes from. Touches no table."""
    store = request.session
    if isinstance(store, SessionStore):
        store.ip_address = client_address(request)
        store.browser = request.META.get("HTTP_USER_AGENT", "")[:200].replace("\0", "")


def seen(request: HttpRequest, now: datetime) -> None:
    """Note when and where the session was last seen, once a minute. Its data stays untouched."""
    store = request.session
    row = store.row if isinstance(store, SessionStore) else None
    if row is None or not isinstance(store, SessionStore):
        return
    moved = row.ip_address != store.ip_address
    if moved or now - row.seen_at >= SEEN_EVERY:
        row.ip_address, row.seen_at = store.ip_address, now
        try:
            Session.objects.filter(pk=row.pk).update(
                ip_address=store.ip_address, browser=store.browser, seen_at=now
            )
        except DatabaseError as error:  # a full disk, say: the page is needed all the more
            logger.warning("Not noted when a session was last seen: %s", error)


def of(user_id: int, now: datetime) -> list[Session]:
    """Where the user is signed in, the one seen last first."""
    return list(Session.objects.filter(user_id=user_id, expire_date__gt=now).order_by("-seen_at"))


def end(user_id: int, *, but: str | None = None, name: str | None = None) -> int:
    """Sign the user out: everywhere, everywhere but in session `but`, or in the one called `name`."""
    keys = [
        one.session_key
        for one in Session.objects.filter(user_id=user_id).exclude(session_key=but)
        if name is None or one.name == name
    ]
    return Session.objects.filter(session_key__in=keys).delete()[0]
