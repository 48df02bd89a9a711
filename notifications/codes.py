"""Pure rules: verification codes, how long they hold, how often they are sent and guessed."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

CODE, TEST = "code", "test"
TO_ONE_POINT = frozenset({CODE, TEST})
"""The kinds that go to one contact point instead of whichever of the contact's can be used."""

DIGITS = 6
CODE_LIFETIME = timedelta(minutes=30)
"""A code counts for so long from when it was asked for."""
CODE_WORTH_SENDING = timedelta(minutes=15)
"""Later it would come too close to its end."""
TEST_WORTH_SENDING = timedelta(minutes=5)
"""Whoever asked for a test looks at the page for so long."""
SENT_APART = timedelta(minutes=1)
PER_HOUR = 5
"""So many codes, and so many tests, for one contact point in an hour."""
PER_HOUR_OF_ACCOUNT = 40
"""So many codes and tests together for an account: a form must not become a way to send SMS to the world."""
GUESSES = 5
"""A code is void after so many wrong ones: with PER_HOUR at most 25 guesses at a million in an hour."""


def code_of(key: bytes, notification: int, address: str) -> str:
    """The six digits for one notification and one address.

    They are an HMAC-SHA256 under the installation's key, so that no code is stored anywhere, neither plain
    nor hashed (a hash of six digits is undone in a second); a repeat after a crash says the same code, and a
    changed address voids it.
    """
    digest = hmac.new(key, f"{notification}\0{address}".encode(), hashlib.sha256).digest()
    return f"{int.from_bytes(digest) % 10**DIGITS:0{DIGITS}}"


def typed(text: str) -> str | None:
    """A code as somebody types it, with spaces or hyphens; None when it is not six digits."""
    code = re.sub(r"[\s-]", "", text)
    return code if re.fullmatch(rf"[0-9]{{{DIGITS}}}", code, re.ASCII) else None


@dataclass(frozen=True)
class TooSoon:
    """Nothing is sent before `until`."""

    until: datetime


def sent_too_often(
    of_point: Sequence[datetime], of_account: Sequence[datetime], now: datetime
) -> TooSoon | None:
    """Whether another code (or test) has to wait, given when the earlier ones were asked for."""
    hour = timedelta(hours=1)
    waits = []
    for asked, most, span in (
        (of_point, 1, SENT_APART),
        (of_point, PER_HOUR, hour),
        (of_account, PER_HOUR_OF_ACCOUNT, hour),
    ):
        recent = sorted(at for at in asked if now - span < at <= now)
        if len(recent) >= most:
            waits.append(recent[-most] + span)
    return TooSoon(max(waits)) if waits else None
