"""What a reply of the mail server means, by the stage at which it came."""

from __future__ import annotations

import re
from enum import StrEnum


class Verdict(StrEnum):
    """Values of `Attempt.Result`; FAULT is ours alone and no reply's."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    REFUSED = "refused"
    HOST_FAILURE = "host_failure"
    FAULT = "fault"


_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")
_SESSION_STAGES = frozenset({"connect", "banner", "ehlo", "starttls", "auth"})


def enhanced_status(text: str) -> tuple[int, int, int] | None:
    """The RFC 3463 status at the start of a reply's text."""
    found = _ENHANCED.match(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def classify(stage: str, code: int | None, text: str) -> Verdict:
    """What a reply at a stage says. `code` is None where none came: refused, cut, timed out, TLS trouble.

    A 5xx to MAIL is DEFERRED here: it is a host failure only when three senders in a row get it.
    """
    if code is None or code == 421 or code < 200 or code >= 600 or stage in _SESSION_STAGES:
        return Verdict.HOST_FAILURE
    if code < 300:
        return Verdict.DELIVERED
    if code >= 500:
        return Verdict.DEFERRED if stage == "mail" else Verdict.REFUSED
    if stage in ("mail", "data") or code < 400:
        return Verdict.HOST_FAILURE
    if stage == "end" and is_about_the_system(code, text):
        return Verdict.HOST_FAILURE
    return Verdict.DEFERRED


def is_about_the_system(code: int, text: str) -> bool:
    """A 4xx that everybody would get: a full disk, a server that takes nothing now (RFC 3463 x.3.x)."""
    status = enhanced_status(text)
    return status[1] == 3 if status else code == 452


def is_about_the_recipient(text: str) -> bool:
    """Trouble of one address or mailbox (x.1.x, x.2.x)."""
    status = enhanced_status(text)
    return status is not None and status[1] in (1, 2)


def is_too_many_recipients(code: int | None, text: str) -> bool:
    """The rest of the recipients belongs into the next transaction (RFC 5321 4.5.3.1.10)."""
    return code == 452 and (enhanced_status(text) or (0, 0, 0))[1:] == (5, 3)
