"""Tokens of manage links: `<id in base 62>.<HMAC-SHA256 of it, cut to 128 bits, base64url>`.

Nothing secret is stored: the key is derived from SECRET_KEY. Keys in SECRET_KEY_FALLBACKS are still
read, so that changing the key does not end the links that are out.
"""

from __future__ import annotations

import base64
import re
import string

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from events.models import ManageLink

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(r"([0-9A-Za-z]{1,11})\.[0-9A-Za-z_-]{22}", re.ASCII)
_LARGEST_ID = 2**63 - 1


def make(link: ManageLink) -> str:
    """The token of a saved link; the same each time."""
    return _token(link.pk, settings.SECRET_KEY)


def read(token: str) -> int | None:
    """The id of the link that the token names, or None when it was not made here. Constant in time."""
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        return None
    link_id = _from_base62(shape[1])
    if link_id > _LARGEST_ID:
        return None
    # The whole token is compared, so that each link has one spelling only.
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    good = [constant_time_compare(_token(link_id, key), token) for key in keys]
    return link_id if any(good) else None


def _token(link_id: int, key: str) -> str:
    mac = salted_hmac("events.manage-link", str(link_id), secret=key, algorithm="sha256").digest()[:16]
    return f"{_to_base62(link_id)}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _to_base62(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def _from_base62(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 62 + _DIGITS.index(digit)
    return number
