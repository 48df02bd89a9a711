"""The message of an outbound probe, and how it is known again: signed, and one of a kind.

A stranger cannot make one, for the key comes of SECRET_KEY; one that is sent again counts for nothing, for
its nonce has arrived already.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

HEADER = "X-Continuity-Probe"
_SALT = "continuity: round-trip probe"
_SIGNATURE = 32  # hex digits: 128 bits
_TOKEN = re.compile(rb"\bctp1\.(\d{1,18})\.(\d{1,11})\.([0-9a-f]{32})\.([0-9a-f]{32})\b")
# A message of a stranger may be full of things that look like tokens.
_MOST_TOKENS = 4


@dataclass(frozen=True)
class Mark:
    """What tells one probe from all others."""

    monitor_id: int
    window_start: datetime
    nonce: str

    @property
    def _text(self) -> str:
        return f"{self.monitor_id}.{int(self.window_start.timestamp())}.{self.nonce}"

    def token(self) -> str:
        """The mark with its signature."""
        return f"ctp1.{self._text}.{self._signature(settings.SECRET_KEY)}"

    def is_signed(self, signature: str) -> bool:
        keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        return any(constant_time_compare(signature, self._signature(key)) for key in keys)

    def _signature(self, key: str) -> str:
        return salted_hmac(_SALT, self._text, secret=key, algorithm="sha256").hexdigest()[:_SIGNATURE]


def marks(data: bytes) -> Iterator[Mark]:
    """The marks in a message whose signature is ours. Never raises, whatever the bytes are."""
    for number, found in enumerate(_TOKEN.finditer(data)):
        if number >= _MOST_TOKENS:
            return
        monitor, seconds, nonce, signature = (group.decode("ascii") for group in found.groups())
        mark = Mark(int(monitor), datetime.fromtimestamp(int(seconds), UTC), nonce)
        if mark.is_signed(signature):
            yield mark


def letter(mark: Mark, *, sender: str, recipient: str, now: datetime) -> bytes:
    """The bytes of the probe. Automatic mail by RFC 3834, so that nothing answers it."""
    # Written by hand: a thousand at once take a thousandth of what the e-mail package needs.
    return _LETTER.format(
        sender=sender,
        recipient=recipient,
        date=format_datetime(now),
        identifier=f"{uuid.uuid4()}@{settings.GATEWAY_NAME}",
        header=HEADER,
        token=mark.token(),
    ).encode("ascii", "replace")


_LETTER = """\
From: {sender}
To: {recipient}
Subject: Continuity round-trip probe
Date: {date}
Message-ID: <{identifier}>
Auto-Submitted: auto-generated
{header}: {token}
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Continuity sends this message through your mail server and back to its gateway,
to see that mail leaves. Nobody needs to read it.
""".replace("\n", "\r\n")
