"""What the clock decides, every few seconds. Safe to run twice, at once, late, or not at all for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import OperationalError

from events.services import (
    alerts,
    automatic,
    checklist,
    clock,
    draining,
    ending,
    escalation,
    expiry,
    feed,
    holding,
    suspending,
    watching,
)

logger = logging.getLogger(__name__)


def tick(now: datetime) -> int:
    """Begin what is scheduled, close what has run out, activate where nobody did, ask whether to extend,
    alert, warn of mail that goes back, remind of pauses, tell that a queue is
    through, and the others what one did; write down what became of checklists and remind of them.

    Returns how many things were decided.
    """
    ended = each(clock.accounts(now), clock.settle, now)
    ended += each(suspending.accounts(now), suspending.end_over, now)
    ended += each(automatic.accounts(now), automatic.decide, now)
    alerted = each(alerts.accounts(), alerts.decide, now)
    moved = each(escalation.accounts(), escalation.fall_through, now)
    warned = each(expiry.accounts(now), expiry.decide, now)
    warned += each(ending.accounts(now), ending.decide, now)
    held = each(holding.accounts(), holding.decide, now)
    through = each(draining.accounts(), draining.decide, now)
    watched = each(watching.accounts(now), watching.decide, now)
    settled = each(checklist.accounts(now), checklist.decide, now)
    told = each(feed.accounts_behind(), feed.tell_others, now)
    return ended + alerted + moved + warned + held + through + watched + settled + told


def each(accounts: list[int], decide: Callable[[int, datetime], int], now: datetime) -> int:
    """One account after the other: what goes wrong with one must not keep the next from being alerted."""
    decided = 0
    for account_id in accounts:
        try:
            decided += decide(account_id, now)
        except OperationalError:  # the database is away: nothing else would work, and the next tick tries
            raise
        except Exception:
            logger.exception("tick of account %s: %s failed", account_id, decide.__name__)
    return decided
