"""Years of believable decisions for the demo account, in a right chain, to look at and to measure on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection, transaction

from accounts.audit import content_hash
from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER
from delivery.services.bulk import Row, Table, stored
from events.models import ContinuityEvent

ROWS_PER_EVENT = 10
SPAN = timedelta(days=3 * 365)
BATCH = 1_000  # events a transaction
PEOPLE = (
    ("user", "Maria Silva"),
    ("contact", "Maria Silva"),
    ("contact", "Tom Becker"),
)
REASONS = (
    "the disk array is being replaced",
    "a certificate ran out",
    "",
    "an update took longer than planned",
)

_EVENTS = Table(
    ContinuityEvent,
    *("id", "account_id", "title", "state", "starts_at", "ends_at", "ended_at", "began", "began_by"),
    *("ended", "ended_by"),
)
_ENTRIES = Table(
    AuditEntry,
    *("previous_hash", "account_id", "number", "at", "by", "actor_id", "actor_name", "ip_address", "action"),
    *("subject", "before", "after", "reason", "details", "hash"),
)


def seed_history(
    account: Account, rows: int, now: datetime, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Add `rows` audit rows, one event for each ten. The last is just before `now`, the first years ago.

    Raises ValueError for an account that is not for demonstration: invented history has no place elsewhere.
    """
    if not account.is_demo:
        raise ValueError(f"{account} is not a demo account: it gets no invented history.")
    events = -(-rows // ROWS_PER_EVENT)
    step = SPAN / events
    for first in range(0, events, BATCH):
        until = min(first + BATCH, events)
        with transaction.atomic():
            Account.objects.select_for_update().get(pk=account.pk)  # numbers are given under its lock
            starts = [now - step * (events - n) for n in range(first, until)]
            left = min(rows - first * ROWS_PER_EVENT, len(starts) * ROWS_PER_EVENT)
            _write(account, starts, left, min(step, timedelta(hours=6)))
            progress(first * ROWS_PER_EVENT + left)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # the planner knows nothing of so many new rows yet


def _write(account: Account, starts: list[datetime], rows: int, length: timedelta) -> None:
    last = AuditEntry.objects.filter(account=account).order_by("-number").first()
    number, previous = (last.number, last.hash) if last else (0, "")
    draw = random.Random(number)  # noqa: S311
    events: list[Row] = []
    entries: list[Row] = []
    for pk, start in zip(_EVENTS.new_ids(len(starts)), starts, strict=True):
        end = start + length * 0.9
        by, who = draw.choice(PEOPLE)
        began = "link" if by == "contact" else "console"
        row = (pk, account.pk, "Mail server outage", "ended", stored(start), stored(end), stored(end))
        events.append((*row, began, who, "stopped", who))
        for decided in _story(draw, pk, start, length, (by, who))[: rows - len(entries)]:
            number += 1
            content: Row = (previous, account.pk, number, *decided, None)
            previous = content_hash(content)
            plain = (*content[:3], stored(content[3]), *content[4:13], json.dumps(content[13]), previous)
            entries.append(plain)
    _EVENTS.insert(events)
    _ENTRIES.insert(entries)


def _story(
    draw: random.Random, pk: int, start: datetime, length: timedelta, who: tuple[str, str]
) -> list[Row]:
    """Ten decisions of one event: at, by, actor_id, name, address, action, subject, before, after, why."""
    clock = (SCHEDULER.by.value, None, SCHEDULER.name, None)
    person = (who[0], draw.randint(1, 9), who[1], f"192.0.2.{draw.randint(1, 254)}")
    event, outage, route, pause = f"event:{pk}", f"outage:{pk}", "route:1", f"pause:{pk}"
    reason = draw.choice(REASONS)
    story: list[Row] = [
        (*clock, "route.down", route, "up", "down", "421 4.3.2 shutting down"),
        (*clock, "outage.opened", outage, "", "open", "connection refused"),
        (*clock, "alert.decided", outage, "", "", ""),
        (*person, "event.activated", event, "inactive", "active", reason),
        (*person, "pause.started", pause, "flowing", "paused", reason),
        (*person, "event.extended", event, "active", "active", ""),
        (*person, "pause.ended", pause, "paused", "flowing", ""),
        (*clock, "route.up", route, "recovering", "up", ""),
        (*clock, "outage.closed", outage, "open", "closed", ""),
        (*person, "event.stopped", event, "active", "ended", ""),
    ]
    return [(start + length * (n / 11), *decided, {"n": n}) for n, decided in enumerate(story)]
