"""Who is told that mail was given up or is late, and with which status (RFC 3461, RFC 3463)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from delivery.rules.replies import enhanced_status

EXPIRED = "4.4.7"
DELAYED = "4.0.0"
REFUSED = "5.0.0"
RELAYED = "2.0.0"

LOOK_AGAIN = timedelta(hours=6)
"""A bounce that has no way to its sender looks for one so often; a new outbound route wakes it."""


class Silence(StrEnum):
    """Why a sender is not told."""

    NULL_SENDER = "null sender"
    NOT_WANTED = "not wanted"
    NOT_AUTHENTIC = "not authentic"


def silence(sender: str, notify: str, authentic: bool | None, *, always: bool) -> Silence | None:
    """Why the sender is not told of a failure; None when a bounce is due.

    `notify` is the recipient's RFC 3461 NOTIFY, empty where the client gave none. `authentic` says whether
    the sender was proven at acceptance, None where that was not evaluated; `always` is the account's
    setting to bounce all the same. Nothing is ever said to the null sender.
    """
    if not sender:
        return Silence.NULL_SENDER
    if not wants(notify, "FAILURE"):
        return Silence.NOT_WANTED
    return None if authentic or always else Silence.NOT_AUTHENTIC


def wants(notify: str, what: str) -> bool:
    """Whether NOTIFY asks for `FAILURE`, `DELAY` or `SUCCESS`.

    Without NOTIFY failures are told and delays may be (RFC 3461 4.1); successes are not.
    """
    return what in notify.split(",") if notify else what != "SUCCESS"


def refusal_status(code: int | None, text: str) -> str:
    """The status of a final refusal: the server's own where it is a permanent one."""
    found = enhanced_status(text)
    if found and found[0] == 5:
        return ".".join(map(str, found))
    return {552: "5.2.2", 553: "5.1.3", 554: "5.0.0"}.get(code or 0, REFUSED)


def delay_status(text: str) -> str:
    """The status of a delay: the server's own where it is a temporary one."""
    found = enhanced_status(text)
    return ".".join(map(str, found)) if found and found[0] == 4 else DELAYED


def relayed_status(text: str) -> str:
    """The status of what was handed on: the server's own where it is one of success."""
    found = enhanced_status(text)
    return ".".join(map(str, found)) if found and found[0] == 2 else RELAYED


def ran_before(now: datetime, delay: timedelta, pauses: list[tuple[datetime, datetime]]) -> datetime:
    """The latest instant since which a clock that stands still in `pauses` has run for `delay`.

    `pauses` are (start, end), not overlapping, none later than `now`.
    """
    left, at = delay, now
    for start, end in sorted(pauses, reverse=True):
        if at - end >= left:
            break
        left -= at - end
        at = start
    return at - left
