"""The chain of audit rows: what a row's hash covers, and whether an account's rows still form a chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connection

from accounts.models import AuditEntry

BATCH = 5_000
CONTENT = (
    *("previous_hash", "account_id", "number", "at", "by", "actor_id", "actor_name", "ip_address", "action"),
    *("subject", "before", "after", "reason", "details", "request_key"),
)
"""What the hash covers, in this order."""

_as_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=datetime.isoformat).encode


def content_hash(content: Sequence[Any]) -> str:
    """SHA-256 over the values of `CONTENT` as a JSON list, its instant in UTC."""
    values = list(content)
    values[3] = values[3].astimezone(UTC).isoformat()
    return hashlib.sha256(_as_json(values).encode()).hexdigest()


def entry_hash(entry: AuditEntry) -> str:
    """What the hash of a row has to be."""
    return content_hash([getattr(entry, name) for name in CONTENT])


@dataclass(frozen=True)
class Verdict:
    """What became of the chain of an account. `number` and `hash` are of the last row that is right.

    `wrong` says in words what is wrong with the first row that is not; the rows after it were not read.
    """

    rows: int
    number: int = 0
    hash: str = ""
    wrong: str = ""


def verify(account_id: int, expected: tuple[int, str] | None = None) -> Verdict:
    """Read an account's whole chain. `expected` is a number and hash known from elsewhere.

    Rows cut off at the end leave a whole chain: only `expected` shows that they are gone.
    """
    last, previous = 0, ""
    for row in _rows(account_id):
        number, told = row[2], row[-1]
        verdict = partial(Verdict, last, last, previous)
        if number != last + 1:
            gone = f"row {last + 1} is" if number == last + 2 else f"rows {last + 1} to {number - 1} are"
            return verdict(f"{gone} missing")
        if row[0] != previous:
            return verdict(f"row {number} does not follow from the row before it")
        if told != content_hash(row[:-1]):
            return verdict(f"row {number} is not what was written: its hash is wrong")
        if expected and number == expected[0] and told != expected[1]:
            return verdict(f"row {number} is not the one that was expected: the chain was written anew")
        last, previous = number, told
    if expected and last < expected[0]:
        return Verdict(last, last, previous, f"rows {last + 1} to {expected[0]} were cut off at the end")
    return Verdict(last, last, previous)


def _rows(account_id: int) -> Iterator[tuple[Any, ...]]:
    """The rows in order: `CONTENT` and the hash. In batches, so that a million take no more memory."""
    rows = AuditEntry.objects.filter(account=account_id).order_by("number").values_list(*CONTENT, "hash")
    last = -1
    while batch := list(rows.filter(number__gt=last)[:BATCH]):
        yield from batch
        last = batch[-1][2]


def is_guarded() -> bool:
    """Whether the database refuses to change and to delete audit rows."""
    table = AuditEntry._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled IN ('O', 'A')"
                " AND tgname IN ('audit_append_only', 'audit_no_truncate')",
                [table],
            )
        else:
            cursor.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
                " AND name IN ('audit_no_update', 'audit_no_delete')",
                [table],
            )
        return bool(cursor.fetchone()[0] == 2)
