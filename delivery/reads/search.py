"""Finding mail in the queue: in the same time whether it holds a hundred recipients or a million.

Everything is listed by age, the newest first, and paged by keyset. Three ways lead to a page, in this order:

1. *Few*: a Message-ID, a sender (whole address or domain) or a recipient (address or its beginning) that an
   index finds at most `SCAN` times. All of them are looked at, so the page is exact.
2. *Listed*: `recipient_listed` gives the recipients of each next hop and state by age; the database merges
   these streams and stops after a page. Other conditions are tried on the next `SCAN` of them, and the page
   says how far it has looked.
3. *By message*, where an account has so many next hops that there are too many streams: `SCAN` recipients
   of its messages by age, on which all conditions are tried.

Nothing is counted beyond `COUNTED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Value

from delivery.models import Folded, Message, NextHop, Recipient, SenderKey
from delivery.services.hops import domain_of

PAGE = 50
SCAN = 5_000
COUNTED = 10_000
COUNTED_BY_MESSAGE = 2_000  # each is looked up by itself
TRIED = (250, 1_000, SCAN - 1_250)
STREAMS = 96  # next hops times states; SQLite takes 500 in one statement
LAST = "\U0010ffff"

Place = tuple[datetime, int]
"""Accepted at, primary key: where a recipient stands in the list."""


@dataclass(frozen=True)
class Criteria:
    """A valid filter as plain values. `upto` and `accepted_by` freeze it: later mail does not match."""

    states: tuple[str, ...] = ()
    route: int | None = None
    sender: str = ""
    recipient: str = ""
    subject: str = ""
    message_id: str = ""
    accepted_by: datetime | None = None
    upto: int | None = None
    ids: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What is set, as JSON values."""
        found = {name: value for name, value in asdict(self).items() if value not in ("", None, ())}
        if self.accepted_by:
            found["accepted_by"] = self.accepted_by.isoformat()
        return found

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        values = dict(stored)
        if "accepted_by" in values:
            values["accepted_by"] = datetime.fromisoformat(values["accepted_by"])
        for name in ("states", "ids"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    @property
    def every_state(self) -> tuple[str, ...]:
        return self.states or tuple(Recipient.State.values)


@dataclass(frozen=True)
class Found:
    """A stretch of the list in its order. `reached` is set when the look-up ended there without having
    tried everything: go on from it.
    """

    ids: list[int] = field(default_factory=list)
    more: bool = False
    reached: Place | None = None


@dataclass(frozen=True)
class Count:
    """How many match: exactly, or `more` than that."""

    number: int
    more: bool = False


class Search:
    """One filter of one account. It may be asked several times; what it looks up first is kept."""

    def __init__(self, account_id: int, criteria: Criteria) -> None:
        self.account_id, self.criteria = account_id, criteria
        self.hops = self._hops()
        self.few: Q | None = self._few()

    # --- what the page shows

    def page(self, place: Place | None, *, newer: bool = False, limit: int = PAGE) -> Found:
        """The next `limit` recipients that are older than `place`, or newer, nearest first."""
        if not self.hops:
            return Found()
        if self.few is not None:
            rows = self._beyond(self._conditions(Recipient.objects.filter(self.few)), place, newer)
            ids = list(_ordered(rows, newer).values_list("pk", flat=True)[: limit + 1])
            return Found(ids[:limit], more=len(ids) > limit)
        if self._is_plain:
            listed = self._listed(place, newer, limit + 1)
            return Found([pk for _, pk in listed[:limit]], more=len(listed) > limit)
        return self._tried(place, newer, limit)

    def count(self, *, trying: bool = False) -> Count | None:
        """Up to `COUNTED`; None when nobody knows without trying them.

        With `trying` the next `SCAN` are tried: at least so many match.
        """
        if not self.hops:
            return Count(0)
        most = COUNTED
        if self.few is not None:
            number = self._conditions(Recipient.objects.filter(self.few))[: most + 1].count()
        elif self._is_plain:
            most = COUNTED if self._streams is not None else COUNTED_BY_MESSAGE
            number = self._rows(None, False, None).order_by()[: most + 1].count()
        elif trying:
            found = self._tried(None, False, SCAN)
            return Count(len(found.ids), more=found.more or found.reached is not None)
        else:
            return None
        return Count(min(number, most), number > most)

    # --- what a long action goes by

    def stretch(self, place: Place | None, size: int) -> tuple[list[int], Place | None, int]:
        """From the oldest on: who matches among the next `size`, where that ends, how many were looked at.

        The end is None when there is nothing further.
        """
        if not self.hops:
            return [], None, 0
        if self.few is not None:
            rows = self._beyond(self._conditions(Recipient.objects.filter(self.few)), place, newer=True)
            listed = list(_ordered(rows, newer=True).values_list("accepted_at", "pk")[:size])
            ids = [pk for _, pk in listed]
        else:
            listed = self._listed(place, True, size)
            ids = [pk for _, pk in listed]
            if not self._is_plain:
                matching = set(
                    self._conditions(Recipient.objects.filter(pk__in=ids)).values_list("pk", flat=True)
                )
                ids = [pk for pk in ids if pk in matching]
        return ids, listed[-1] if len(listed) == size else None, len(listed)

    def to_look_at(self) -> int:
        """How many `stretch` will look at in all. Reads that many index entries: for jobs."""
        if not self.hops:
            return 0
        if self.few is not None:
            return self._conditions(Recipient.objects.filter(self.few)).count()
        if self._streams is None:
            return self._frozen(Recipient.objects.filter(message__account_id=self.account_id)).count()
        return sum(self._frozen(Recipient.objects.filter(**stream)).count() for stream in self._streams)

    # --- next hops and selective indexes

    def _hops(self) -> list[int]:
        hops = NextHop.objects.filter(route__account_id=self.account_id)
        if self.criteria.route:
            hops = hops.filter(route_id=self.criteria.route)
        recipient = self.criteria.recipient
        if "@" in recipient[:-1]:
            hops = hops.filter(domain__in=("", domain_of(recipient)))
        return list(hops.order_by("pk").values_list("pk", flat=True))

    def _few(self) -> Q | None:
        wanted = self.criteria
        if wanted.ids:
            return Q(pk__in=wanted.ids, next_hop__route__account_id=self.account_id)
        messages = Message.objects.filter(account_id=self.account_id)
        if wanted.message_id:
            # Not by account: SQLite would take its index instead, and read all of the account.
            same = Message.objects.filter(message_id__in=_both_forms(wanted.message_id))
            owned = list(same.values_list("pk", "account_id")[: SCAN + 1])
            ids = [pk for pk, account_id in owned if account_id == self.account_id]
            return Q(message_id__in=ids) if len(owned) <= SCAN else None
        if wanted.sender and (key := _sender_key(wanted.sender)):
            keyed = messages.alias(key=SenderKey("sender"))
            found = _among(_between(keyed, *key), "message_id__in")
            if found is not None:
                return found
        if wanted.recipient and not wanted.recipient.startswith("@"):
            return self._few_recipients(wanted.recipient)
        return None

    def _few_recipients(self, text: str) -> Q | None:
        keyed = Recipient.objects.filter(next_hop_id__in=self.hops).alias(key=Folded("address"))
        rows = _between(keyed, text, text if "@" in text[:-1] else text + LAST)
        ids = list(rows.values_list("pk", flat=True)[: SCAN + 1])
        return Q(pk__in=ids) if len(ids) <= SCAN else None

    # --- the list by age

    @property
    def _is_plain(self) -> bool:
        """Next hops, states and age say it all: what is listed matches."""
        wanted = self.criteria
        if wanted.message_id or wanted.sender or wanted.recipient or wanted.subject:
            return False
        return self._streams is not None or not (wanted.states or wanted.route)

    @cached_property
    def _streams(self) -> list[dict[str, Any]] | None:
        """Next hop and state of each stream; None when they are too many."""
        states = self.criteria.every_state
        hops: Sequence[int] = self.hops
        if len(hops) * len(states) > STREAMS:
            # Of the thousand domains that mail goes out to, few have any of it waiting.
            some = Recipient.objects.filter(next_hop=OuterRef("pk"), state__in=states)
            busy = NextHop.objects.filter(Exists(some), pk__in=hops).order_by("pk")
            hops = list(busy.values_list("pk", flat=True)[: STREAMS + 1])
        if len(hops) * len(states) > STREAMS:
            return None
        return [{"next_hop_id": hop, "state": state} for hop in hops for state in states]

    def _rows(self, place: Place | None, newer: bool, limit: int | None) -> QuerySet[Any]:
        """The recipients of the streams, merged by the database, which reads no more than are taken."""
        if self._streams is None:
            mine = Recipient.objects.filter(message__account_id=self.account_id)
            rows = self._frozen(self._beyond(mine, place, newer, "message__accepted_at"))
            if self.criteria.accepted_by:
                rows = rows.filter(message__accepted_at__lte=self.criteria.accepted_by)
            return _ordered(rows, newer, "message__accepted_at").values_list("accepted_at", "pk")[:limit]
        parts = [
            self._frozen(self._beyond(Recipient.objects.filter(**stream), place, newer)).values_list(
                "accepted_at", "pk"
            )
            for stream in self._streams
        ]
        if not parts:
            return Recipient.objects.none().values_list("accepted_at", "pk")
        if len(parts) == 1:
            return _ordered(parts[0], newer)[:limit]
        if limit and connection.features.supports_slicing_ordering_in_compound:
            # PostgreSQL takes the index's order of each stream only where it is planned by itself.
            parts = [_ordered(part, newer)[:limit] for part in parts]
        return _ordered(parts[0].union(*parts[1:], all=True), newer)[:limit]

    def _listed(self, place: Place | None, newer: bool, limit: int) -> list[Place]:
        return list(self._rows(place, newer, limit))

    def _tried(self, place: Place | None, newer: bool, limit: int) -> Found:
        """The other conditions, tried on the list until the page is full, at most on `SCAN` of it."""
        ids: list[int] = []
        for size in TRIED:
            listed = self._listed(place, newer, size)
            rows = self._conditions(Recipient.objects.filter(pk__in=[pk for _, pk in listed]))
            ids += _ordered(rows, newer).values_list("pk", flat=True)
            if len(ids) > limit:
                return Found(ids[:limit], more=True)
            if len(listed) < size:
                return Found(ids)
            place = listed[-1]
        return Found(ids, reached=place)

    # --- conditions

    def _conditions(self, rows: QuerySet[Recipient]) -> QuerySet[Recipient]:
        """All of the filter, on rows of the account that are few enough to try one by one."""
        wanted = self.criteria
        rows = self._frozen(rows)
        if wanted.route:
            rows = rows.filter(next_hop__route_id=wanted.route)
        if wanted.states:
            rows = rows.filter(state__in=wanted.states)
        if wanted.message_id:
            rows = rows.filter(message__message_id__in=_both_forms(wanted.message_id))
        if wanted.sender:
            rows = rows.filter(_address("message__sender", wanted.sender))
        if wanted.recipient:
            rows = rows.filter(_address("address", wanted.recipient))
        if wanted.subject:
            rows = rows.filter(message__subject__icontains=wanted.subject)
        return rows

    def _frozen(self, rows: QuerySet[Recipient]) -> QuerySet[Recipient]:
        if self.criteria.accepted_by:
            rows = rows.filter(accepted_at__lte=self.criteria.accepted_by)
        if self.criteria.upto is not None:
            rows = rows.filter(pk__lte=self.criteria.upto)
        return rows

    @staticmethod
    def _beyond(
        rows: QuerySet[Recipient], place: Place | None, newer: bool, by: str = "accepted_at"
    ) -> QuerySet[Recipient]:
        if place is None:
            return rows
        at, pk = place
        # The first condition is for the index, which would not start at an OR.
        if newer:
            return rows.filter(Q(**{f"{by}__gt": at}) | Q(pk__gt=pk), **{f"{by}__gte": at})
        return rows.filter(Q(**{f"{by}__lt": at}) | Q(pk__lt=pk), **{f"{by}__lte": at})


def place_of(account_id: int, pk: int | None) -> Place | None:
    """Where a recipient of the account stands; None when there is no such one (any more)."""
    rows = Recipient.objects.filter(pk=pk or 0, next_hop__route__account_id=account_id)
    return rows.values_list("accepted_at", "pk").first()


def _both_forms(message_id: str) -> list[str]:
    bare = message_id.strip("<> ")
    return [bare, f"<{bare}>"]


def _ordered(rows: QuerySet[Any], newer: bool, by: str = "accepted_at") -> QuerySet[Any]:
    return rows.order_by(by, "pk") if newer else rows.order_by(f"-{by}", "-pk")


def _among(messages: QuerySet[Message], field_name: str) -> Q | None:
    """The messages by their keys; None when they are not few."""
    ids = list(messages.values_list("pk", flat=True)[: SCAN + 1])
    return Q(**{field_name: ids}) if len(ids) <= SCAN else None


def _between(rows: QuerySet[Any], first: str, last: str) -> QuerySet[Any]:
    """Rows whose `key` is from `first` to `last`, both folded by the database itself."""
    return rows.filter(key__gte=Folded(Value(first)), key__lte=Folded(Value(last)))


def _sender_key(text: str) -> tuple[str, str] | None:
    """The stretch of the index for a whole address or a domain; the beginning of an address has none."""
    if text == "<>":
        return "@", "@"
    local, at, domain = text.rpartition("@")
    if not at or not domain:
        return None
    return (f"{domain}@{local}", f"{domain}@{local}") if local else (f"{domain}@", f"{domain}@{LAST}")


def _address(name: str, text: str) -> Q:
    """`@domain`, a whole address, or else its beginning."""
    if text == "<>":
        return Q(**{name: ""})
    if text.startswith("@"):
        return Q(**{f"{name}__iendswith": text})
    if "@" in text[:-1]:
        return Q(**{f"{name}__iexact": text})
    return Q(**{f"{name}__istartswith": text})
