"""Deleting what has been kept for its time: first the content of mail, much later what is known of it.

Nothing is ever deleted of a message that has a recipient whose fate is open. Each batch is a transaction of
its own and small; killed at any line, the next run begins anew and finds what is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from accounts.models import Account
from delivery.models import (
    Attempt,
    BulkActionItem,
    DeliverySettings,
    Message,
    MessageContent,
    NextHop,
    Recipient,
)

BATCH = 200  # messages
NEWEST = 1000  # messages
BATCH_BYTES = 64 * 1024 * 1024
VACUUM_PAGES = 1000  # of SQLite, a step
UNUSED = timedelta(days=1)
GIVE_WAY = 0.01  # seconds between two batches
RUN_SECONDS = 50.0
MINUTES = 5  # of each hour, in which it runs as often as the clock comes round


def is_time(now: datetime) -> bool:
    """Once an hour for some minutes: what is due goes in small parts, and is not looked for all the time."""
    return now.minute < MINUTES


def run(now: datetime, seconds: float = RUN_SECONDS) -> tuple[int, int]:
    """Delete what is due, for at most so long. Returns the messages that lost their content, and those gone.

    On SQLite the space goes back to the file system.
    """
    until = time.monotonic() + seconds
    settings = {one.account_id: one for one in _settings()}
    emptied = _delete_contents(settings, now, until)
    gone = sum(_delete_messages(one, now, until) for one in settings.values())
    _delete_next_hops(now)
    if emptied or gone:
        give_space_back(until)
    return emptied, gone


def _settings() -> list[DeliverySettings]:
    """The settings of every account, with the defaults for those that have none."""
    accounts = Account.objects.select_related("delivery_settings").order_by("pk")
    return [getattr(one, "delivery_settings", None) or DeliverySettings(account=one) for one in accounts]


def _delete_contents(settings: dict[int, DeliverySettings], now: datetime, until: float) -> int:
    """Content whose message has been final for `content_days`.

    Goes through the contents that there are, the oldest first, not through the messages that had one once.
    """
    cutoffs = {pk: now - timedelta(days=one.content_days) for pk, one in settings.items()}
    last = max((_newest_by(pk, cutoff) for pk, cutoff in cutoffs.items()), default=0)
    deleted = place = 0
    while time.monotonic() < until:
        contents = MessageContent.objects.filter(pk__gt=place, pk__lte=last).order_by("pk")
        columns = ("pk", "message__account_id", "message__accepted_at", "message__size")
        batch = list(contents.values_list(*columns)[:BATCH])
        if not batch:
            break
        place = batch[-1][0]
        by_account: dict[int, list[int]] = {}
        for pk, account_id, accepted_at, _size in batch:
            if accepted_at <= cutoffs[account_id]:
                by_account.setdefault(account_id, []).append(pk)
        due = {pk for account_id, some in by_account.items() for pk in _all_final(some, cutoffs[account_id])}
        for some in _by_bytes([(pk, size) for pk, _account, _at, size in batch if pk in due]):
            with transaction.atomic():
                MessageContent.objects.filter(pk__in=some).delete()
                Message.objects.filter(pk__in=some).update(content_deleted_at=now)
            time.sleep(GIVE_WAY)
        deleted += len(due)
    return deleted


def _newest_by(account_id: int, cutoff: datetime) -> int:
    """Up to which primary key the account's messages of that time go; 0 when there is none.

    Keys follow time closely, not strictly: several gateways write at once, clocks are set.
    """
    old = Message.objects.filter(account_id=account_id, accepted_at__lte=cutoff)
    return max(old.order_by("-accepted_at").values_list("pk", flat=True)[:NEWEST], default=0)


def _by_bytes(sized: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """In lists that one transaction can delete without keeping others waiting."""
    some: list[int] = []
    total = 0
    for pk, size in sized:
        if some and total + size > BATCH_BYTES:
            yield some
            some, total = [], 0
        some.append(pk)
        total += size
    if some:
        yield some


def _delete_messages(settings: DeliverySettings, now: datetime, until: float) -> int:
    """Messages that have been final for `metadata_days`, with their recipients and attempts."""
    cutoff = now - timedelta(days=max(settings.metadata_days, settings.content_days))
    # A report stays as long as what it is about, for the books; then it stands alone.
    old = Message.objects.filter(account_id=settings.account_id, accepted_at__lte=cutoff, report_of=None)
    old = old.order_by("accepted_at", "pk")
    deleted = 0
    further = Q()
    while time.monotonic() < until:
        batch = list(old.filter(further).values_list("accepted_at", "pk")[:BATCH])
        if not batch:
            break
        at, pk = batch[-1]
        further = Q(accepted_at__gte=at) & (Q(accepted_at__gt=at) | Q(pk__gt=pk))
        due = _all_final([pk for _at, pk in batch], cutoff)
        # A final recipient never becomes open again: what was due a moment ago still is.
        Message.objects.filter(pk__in=due).delete()
        deleted += len(due)
        time.sleep(GIVE_WAY)
    return deleted


def _delete_next_hops(now: datetime) -> int:
    """Outbound domains to which nothing refers any more. Inbound a next hop lives as long as its route.

    Not before a day without use: the gateway keeps their keys for a while between RCPT and the commit.
    """
    with transaction.atomic():
        unused = NextHop.objects.exclude(domain="").filter(
            ~Exists(Recipient.objects.filter(next_hop=OuterRef("pk"))),
            ~Exists(Attempt.objects.filter(next_hop=OuterRef("pk"))),
            used_at__lt=now - UNUSED,
        )
        ids = set(unused.order_by("pk").values_list("pk", flat=True)[:BATCH])
        # An undo may lead back there. One pass for all of them: nothing else asks for that column.
        ids -= set(BulkActionItem.objects.filter(hop_before__in=ids).values_list("hop_before", flat=True))
        rows = NextHop.objects.filter(pk__in=ids, used_at__lt=now - UNUSED).select_for_update(of=("self",))
        return len(rows) and NextHop.objects.filter(pk__in=[row.pk for row in rows]).delete()[0]


def _all_final(message_ids: Sequence[int], cutoff: datetime) -> list[int]:
    """Those of the messages whose every recipient has been final since before the cutoff."""
    late = Q(final_at=None) | Q(final_at__gt=cutoff) | ~Q(state__in=Recipient.FINAL)
    open_ = set(
        Recipient.objects.filter(late, message_id__in=message_ids).values_list("message_id", flat=True)
    )
    return [pk for pk in message_ids if pk not in open_]


def give_space_back(until: float) -> None:
    """SQLite keeps the pages of deleted rows for itself until it is told; in steps, others write between.

    Ends early when a step gives nothing back: while somebody reads an old state, nothing can be.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    free = _free_pages()
    while free and time.monotonic() < until:
        # As a script: a single statement would be stepped once, and each step frees one page.
        connection.connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").close()
        before, free = free, _free_pages()
        if free >= before:
            return
        time.sleep(GIVE_WAY)


def _free_pages() -> int:
    with connection.cursor() as cursor:
        pages: int = cursor.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
