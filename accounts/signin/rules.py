"""Who needs a second factor, and what a code looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable

RECOVERY_CODES = 10
RECOVERY_CHARACTERS = 10  # of base 32: 50 bits, which nobody guesses at a few tries a minute

_TOTP = re.compile(r"[0-9]{6}")
_RECOVERY = re.compile(r"[a-z2-7]{10}")


def second_factor_needed(*, platform: bool, administers: Iterable[bool]) -> bool:
    """For the platform administrator and for administrators of a real account.

    `administers` says of each account that the user administers whether it is the demo.
    """
    return platform or any(not demo for demo in administers)


def totp(text: str) -> str | None:
    """The six digits of an authenticator app, however they were grouped, or None."""
    code = re.sub(r"[\s-]", "", text)
    return code if _TOTP.fullmatch(code) else None


def recovery(text: str) -> str | None:
    """A recovery code in its one form, or None."""
    code = re.sub(r"[\s-]", "", text).lower()
    return code if _RECOVERY.fullmatch(code) else None


def grouped(code: str) -> str:
    """A recovery code as it is shown."""
    return f"{code[:5]}-{code[5:]}"
