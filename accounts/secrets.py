"""Passwords that must be used again, such as those for mail servers, as they are kept in the database.

Sealed with a key derived from SECRET_KEY: whoever has only the database cannot read them.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):  # noqa: N818  (an answer, not a fault)
    """Sealed with another SECRET_KEY: the secret has to be entered again."""


def encrypt(secret: str) -> str:
    """The secret sealed, as ASCII text."""
    return _box(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).encrypt(secret.encode()).decode("ascii")


def decrypt(sealed: str) -> str:
    """What `encrypt` was given. Raises Unreadable."""
    try:
        box = _box(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        return box.decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable from error


@lru_cache(maxsize=4)
def _box(*keys: str) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in keys])


def _derived(key: str) -> bytes:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"continuity: secrets at rest")
    return base64.urlsafe_b64encode(derive.derive(key.encode()))
