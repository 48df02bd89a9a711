"""How much mail went through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from delivery.reads.buckets import instant_of

CHART_BUCKETS = 48
BUCKET_SECONDS = 24 * 3600 // CHART_BUCKETS
MUCH = 10_000  # messages a day: from here on what is over is counted once
_Counts = dict[int, tuple[int, int]]
_over: dict[int, _Counts] = {}


@dataclass(frozen=True)
class Rate:
    """One bucket of the flow chart: messages accepted and recipients delivered in `[start, end)`."""

    start: datetime
    end: datetime
    accepted: int
    delivered: int


def delivery_rates(account_id: int, now: datetime) -> list[Rate]:
    """Messages accepted and recipients delivered in each half-hour of the last 24 hours.

    The last one holds `now` and is not over yet. Of an account with much mail this process remembers those
    that have been over for half an hour.
    """
    last = int(now.timestamp()) // BUCKET_SECONDS
    numbers = range(last - CHART_BUCKETS + 1, last + 1)
    known = _over.pop(account_id, {})
    if known and max(known) >= last - 1:  # the clock was put back
        known = {}
    counts = known | _counts(account_id, [number for number in numbers if number not in known])
    if sum(counts[number][0] for number in numbers) > MUCH:
        _over[account_id] = {number: counts[number] for number in numbers[:-2]}
    return [
        Rate(instant_of(number * BUCKET_SECONDS), instant_of((number + 1) * BUCKET_SECONDS), *counts[number])
        for number in numbers
    ]


# One statement of index ranges: grouping by a function of the time of each row took ten times as long.
_COUNT = """
    WITH bucket (number, start_at, end_at) AS (VALUES {buckets}),
    hop AS (
        SELECT delivery_nexthop.id FROM delivery_nexthop
        JOIN delivery_route ON delivery_route.id = route_id WHERE account_id = %s
    )
    SELECT number,
        (SELECT COUNT(*) FROM delivery_message
         WHERE account_id = %s AND accepted_at >= start_at AND accepted_at < end_at),
        (SELECT SUM(
            (SELECT COUNT(*) FROM delivery_recipient WHERE next_hop_id = hop.id
             AND state = 'delivered' AND final_at >= start_at AND final_at < end_at)
         ) FROM hop)
    FROM bucket
"""


def _counts(account_id: int, numbers: Collection[int]) -> _Counts:
    """How many were accepted and delivered, by the number of the half-hour since 1970."""
    values: list[Any] = []
    for number in numbers:
        ends = (instant_of(n * BUCKET_SECONDS) for n in (number, number + 1))
        values += [number, *(connection.ops.adapt_datetimefield_value(end) for end in ends)]
    buckets = ", ".join(["(%s, %s, %s)"] * len(numbers))
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(buckets=buckets), [*values, account_id, account_id])
        return {number: (accepted, int(delivered or 0)) for number, accepted, delivered in cursor.fetchall()}
