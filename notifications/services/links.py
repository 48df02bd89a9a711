"""The manage link of a notification: resolved while sending, by whoever knows about links."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError

from notifications import codes
from notifications.models import Notification

LinkResolver = Callable[[Notification, datetime], str]

logger = logging.getLogger(__name__)
_resolver: LinkResolver | None = None


def set_link_resolver(resolver: LinkResolver | None) -> None:
    """Register what gives the absolute URL of the contact's own manage link, while sending."""
    global _resolver  # noqa: PLW0603  (one per process, set when Django is ready)
    _resolver = resolver


def link_of(notification: Notification, now: datetime) -> str:
    """The link for the texts of `notification`. An alert with the console's address beats none at all.

    Nothing that goes to an address which nobody has verified carries a link that acts as the contact.
    """
    if _resolver is not None and notification.kind not in codes.TO_ONE_POINT:
        try:
            return _resolver(notification, now)
        except DatabaseError:
            raise
        except Exception:
            logger.exception("no manage link for notification %s", notification.pk)
    return settings.BASE_URL
