"""Personal links: a person's number and the time, signed with SECRET_KEY. Nothing secret is stored."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.urls import reverse

LIFETIME = timedelta(days=14)


class Expired(Exception):  # noqa: N818
    """The link was made here and works no more."""


def _signer() -> TimestampSigner:
    return TimestampSigner(sep=".", salt="accounts.people.own-page")


def make(person_id: int) -> str:
    """A token that works for 14 days from now."""
    return _signer().sign(str(person_id))


def read(token: str) -> int | None:
    """The person's primary key, or None when the token was not made here. Raises Expired."""
    try:
        return int(_signer().unsign(token, max_age=LIFETIME))
    except SignatureExpired as late:
        raise Expired from late
    except (BadSignature, ValueError):
        return None


def own_page(person_id: int) -> str:
    """The absolute address of the page where a person checks their own data."""
    return settings.BASE_URL + str(reverse("own-page", args=[make(person_id)]))
