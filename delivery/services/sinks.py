"""Addresses at the gateway itself, whose mail is filed for a part of the product."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from delivery.models import SinkMail, SinkRoute

PREFIX = "probe-"
# What is kept of a message, in bytes. Larger ones are refused.
LARGEST = 65_536


@dataclass(frozen=True)
class Filed:
    """A message that came for a sink: `received_at` is when the gateway took it."""

    pk: int
    sink_id: int
    received_at: datetime
    data: bytes


def new_sinks(account_ids: Sequence[int], here: str) -> list[SinkRoute]:
    """For each an address at the gateway of that name that nobody can guess, in the same order."""
    return SinkRoute.objects.bulk_create(
        SinkRoute(account_id=account_id, address=f"{PREFIX}{secrets.token_hex(8)}@{here}")
        for account_id in account_ids
    )


def file_mail(mail: Sequence[tuple[int, bytes]], now: datetime) -> None:
    """Write down what came, as sink and content; inside the transaction that accepts mail."""
    SinkMail.objects.bulk_create(
        [SinkMail(sink_id=sink, received_at=now, data=data[:LARGEST]) for sink, data in mail]
    )


def filed(limit: int = 500) -> list[Filed]:
    """What waits to be read, in the order in which it came."""
    rows = SinkMail.objects.order_by("pk")[:limit]
    return [Filed(row.pk, row.sink_id, row.received_at, bytes(row.data)) for row in rows]


def forget(mail: Sequence[Filed]) -> None:
    """It was read."""
    SinkMail.objects.filter(pk__in=[one.pk for one in mail]).delete()
