"""The only writer of deciding: continuity events, whom an outage alerts when, manage links."""

from events.services.escalation import acknowledge, set_steps
from events.services.links import link_for, resolve_link, revoke
from events.services.mode import activate, extend, stop
from events.services.scheduling import Definition, cancel, change, schedule
from events.services.suspending import suspend
from events.services.ticking import tick

__all__ = [
    "Definition",
    "acknowledge",
    "activate",
    "cancel",
    "change",
    "extend",
    "link_for",
    "resolve_link",
    "revoke",
    "schedule",
    "set_steps",
    "stop",
    "suspend",
    "tick",
]
