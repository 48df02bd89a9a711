"""Reading the audit feed: in the same time whether an account has a hundred rows or a million.

Listed by time, the newest first, and paged by keyset. Each filter has an index in that order. Where one does
not suffice (two filters together, words) the first of them leads, the others are tried on its next `SCAN`
rows, and the answer says how far that went.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.models import AuditEntry

PAGE = 50
SCAN = 10_000
EXPORTED_AT_ONCE = 2_000
_TEXTS = ("actor_name", "subject", "before", "after", "reason", "action", "ip_address")


@dataclass(frozen=True)
class Criteria:
    """A valid filter as plain values, empty where it does not matter. `[since, until)`."""

    topic: str = ""
    who: str = ""
    subject: str = ""
    words: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def exact(self) -> list[Q]:
        """What an index finds, the one that leaves fewest first."""
        named = (("subject", self.subject), ("actor_name", self.who), ("topic", self.topic))
        return [Q((name, value)) for name, value in named if value]

    def tried(self) -> Q:
        """Each word somewhere in the texts of a row."""
        found = Q()
        for word in self.words.split():
            anywhere = Q()
            for name in _TEXTS:
                anywhere |= Q((f"{name}__icontains", word))
            found &= anywhere
        return found


@dataclass(frozen=True)
class Found:
    """A stretch of the feed. `next` is the number to go on from, None at the end; `reached` is the instant
    down to which was looked when not everything was tried."""

    entries: list[AuditEntry] = field(default_factory=list)
    next: int | None = None
    reached: datetime | None = None


def page(account_id: int, criteria: Criteria, before: int | None = None, limit: int = PAGE) -> Found:
    """The next `limit` rows that are older than row `before`, the newest first; at most three queries."""
    rows = AuditEntry.objects.filter(account=account_id).order_by("-at", "-number")
    if criteria.since:
        rows = rows.filter(at__gte=criteria.since)
    if criteria.until:
        rows = rows.filter(at__lt=criteria.until)
    if before is not None:
        last = AuditEntry.objects.filter(account=account_id, number=before).values_list("at", flat=True)
        if not last:
            return Found()
        rows = rows.filter(Q(at__lt=last[0]) | Q(number__lt=before), at__lte=last[0])
    first, *others = [*criteria.exact(), Q()]
    rows = rows.filter(first)
    tried = criteria.tried()
    for other in others:
        tried &= other
    edge = None
    if tried:
        rows, edge = _next_stretch(rows, tried)
    entries = list(rows[: limit + 1])
    if len(entries) > limit:
        return Found(entries[:limit], entries[limit - 1].number)
    return Found(entries, edge[1], edge[0]) if edge else Found(entries)


def _next_stretch(
    rows: QuerySet[AuditEntry], tried: Q
) -> tuple[QuerySet[AuditEntry], tuple[datetime, int] | None]:
    """Those of the next `SCAN` rows on which the conditions hold, and the last of them if more follow."""
    edges = list(rows.values_list("at", "number")[SCAN - 1 : SCAN + 1])
    found = rows.filter(tried)
    if len(edges) < 2:
        return found, None
    at, number = edges[0]
    return found.filter(Q(at__gt=at) | Q(number__gte=number), at__gte=at), (at, number)


def everything(account_id: int, criteria: Criteria) -> Iterator[AuditEntry]:
    """All that match, the newest first, a few thousand at a time."""
    found = page(account_id, criteria, limit=EXPORTED_AT_ONCE)
    yield from found.entries
    while found.next is not None:
        found = page(account_id, criteria, found.next, EXPORTED_AT_ONCE)
        yield from found.entries
