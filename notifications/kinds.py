"""What contacts are told of: each kind of message, what it is for and what its texts may say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrOrPromise

from notifications import codes

# Every text may use these.
ALWAYS = ("account", "name", "zone", "link")

# Variable: what it stands for. What it says is made in `notifications.facts`.
VARIABLES: dict[str, StrOrPromise] = {
    "account": _("the account's name"),
    "name": _("the contact's name"),
    "zone": _("the time zone in which times are told"),
    "link": _("the contact's own link, valid for 24 hours"),
    "monitor": _("the monitor's description"),
    "since": _("since when"),
    "closed": _("when it was over"),
    "at": _("when"),
    "until": _("until when"),
    "again": _("“Down again.” when the contact was told before that it was over, else empty"),
    "reply": _("the mail server's words; a line with nothing else is left out when it said none"),
    "waiting": _("how many messages wait and how old the oldest is, as a sentence"),
    "waiting_short": _("the same for an SMS"),
    "queued": _("how many messages wait, as a number"),
    "oldest": _("the age of the oldest message that waits"),
    "mode": _("whether continuity mode is on and until when, as a sentence"),
    "mode_short": _("the same for an SMS"),
    "seen": _("who has seen the outage first, as a sentence; empty while nobody has"),
    "sentence": _("what somebody did and when, as a sentence"),
    "who": _("who did it"),
    "messages": _("how many messages it is about, in words"),
    "number": _("how many messages it is about, as a number"),
    "route": _("the route's name"),
    "left": _("what is left of it, as a sentence"),
    "left_short": _("the same for an SMS, empty when nothing is"),
    "event": _("the continuity event's title"),
    "todo": _("what is still to be done, separated by commas"),
    "steps": _("how many items of the checklist are open, in words"),
    "code": _("the six digits that verify a contact point"),
}


@dataclass(frozen=True)
class Kind:
    """One kind of message. `needs_link`: its texts are refused without the manage link."""

    title: StrOrPromise
    purpose: StrOrPromise
    own: tuple[str, ...]
    needs_link: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """What its texts may use, in the order in which the editor lists it."""
        return self.own + ALWAYS


_QUEUE = ("waiting", "waiting_short", "queued", "oldest")
_OUTAGE = ("monitor", "since", "again", "reply", "seen", *_QUEUE, "mode", "mode_short")

KINDS: dict[str, Kind] = {
    "outage": Kind(
        _("Outage alert"), _("The first alert of an outage, and the one when it is down again."), _OUTAGE
    ),
    "reminder": Kind(
        _("Reminder"), _("Every hour while an outage lasts and notifications are not suspended."), _OUTAGE
    ),
    "recovery": Kind(
        _("Recovery notice"),
        _("Once, when the outage is over."),
        ("monitor", "since", "closed", *_QUEUE),
        needs_link=False,
    ),
    "action": Kind(
        _("Action notice"),
        _("To the others, when one contact activated, extended, stopped, suspended, paused or resumed."),
        ("sentence", "who", "at", "until"),
        needs_link=False,
    ),
    "expiry": Kind(
        _("Expiry warning"),
        _("24 and 6 hours before the first messages go back to their senders."),
        ("messages", "number", "at"),
    ),
    "route_missing": Kind(
        _("Outbound route missing"),
        _("When bounces wait because the account has no outbound route."),
        ("messages", "number"),
    ),
    "drained": Kind(
        _("Queue is through"),
        _("Once, when the mail that had waited is delivered."),
        ("route", "messages", "number", "since", "closed", "left", "left_short"),
        needs_link=False,
    ),
    "paused": Kind(
        _("Still paused"),
        _("Every 12 hours while deliveries are paused and no event is active."),
        ("who", "since", *_QUEUE),
    ),
    "local_fault": Kind(
        _("Fault of the gateway"),
        _("When a check failed for a fault of the gateway's own, once in each alert interval."),
        ("monitor", "since", "reply"),
    ),
    "flapping": Kind(
        _("Comes and goes"),
        _("Once, when a monitor opened more than three times within a day."),
        ("monitor", "since", "number", "reply"),
    ),
    "disk": Kind(
        _("Disk fills up"),
        _("When the disk will be full within a day while deliveries are paused."),
        ("at", *_QUEUE),
    ),
    "ending": Kind(
        _("Continuity mode ends"),
        _("30 minutes before continuity mode runs out while an outage lasts: whether to extend it."),
        ("event", "until"),
    ),
    "checklist": Kind(
        _("Checklist reminder"),
        _("Once a day while something of the checklist after an event is still to be done."),
        ("event", "since", "steps", "todo"),
        needs_link=False,
    ),
    codes.CODE: Kind(
        _("Verification code"),
        _("To one contact point, before anything else is sent there."),
        ("code",),
        needs_link=False,
    ),
    codes.TEST: Kind(
        _("Test"), _("To one contact point, when somebody presses the button."), (), needs_link=False
    ),
}


def sample(now: datetime) -> dict[str, Any]:
    """Facts such as a notification carries, to show a text with."""

    def ago(**length: float) -> str:
        return (now - timedelta(**length)).isoformat()

    return {
        "monitor": "Exchange",
        "since": ago(minutes=70),
        "closed": ago(minutes=2),
        "at": ago(minutes=2),
        "until": (now + timedelta(hours=4)).isoformat(),
        "mode_until": (now + timedelta(hours=4)).isoformat(),
        "seen_by": "Maria",
        "seen_at": ago(minutes=50),
        "reply": "451 4.3.2 System not accepting network messages",
        "queued": 1234,
        "oldest": ago(minutes=45),
        "what": "{who} activated continuity mode at {at} until {until}.",
        "who": "Maria",
        "number": 312,
        "left": 4,
        "route": "Exchange",
        "event": "Exchange",
        "todo": ["resume inbound deliveries", "test the delivery route"],
        "code": "402817",
    }
