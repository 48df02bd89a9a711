"""The books of mail: whether all that was accepted is delivered, bounced, rejected or still here.

Adding up states would always balance, so the figures come from independent facts: what was accepted from
the number that the gateway noted on each message, what became of it from its recipients, and both are held
against contents and attempts. docs/reconciliation.md says what each check means.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection, transaction
from django.db.models import Case, Count, F, IntegerField, OuterRef, Q, Subquery, Sum, When
from django.db.models.functions import Coalesce

from delivery.models import Message, Recipient
from delivery.reads.bookkeeping import Problem, duplicates, problems, repeated_message_ids
from delivery.reads.buckets import Bucket, instant_of

DAY_SECONDS = 86_400
_STATE = Recipient.State


@dataclass(frozen=True)
class Balance:
    """What was accepted and where it is now, by recipient."""

    accepted: int
    delivered: int
    bounced: int
    rejected: int
    waiting: int

    @property
    def balanced(self) -> bool:
        return self.accepted == self.delivered + self.bounced + self.rejected + self.waiting


@dataclass(frozen=True)
class Scope:
    """Which mail of an account: accepted in `[start, end)`, None for no limit.

    With `waiting_at_start` it is an event's set: also what had been accepted before and still waited then.
    """

    account_id: int
    start: datetime | None = None
    end: datetime | None = None
    waiting_at_start: bool = False

    @classmethod
    def day(cls, account_id: int, day: date) -> Scope:
        """What was accepted on a day in UTC."""
        start = datetime.combine(day, time(), UTC)
        return cls(account_id, start, start + timedelta(days=1))

    @property
    def accepted(self) -> Q:
        """Of messages: accepted within the limits."""
        found = Q(account_id=self.account_id)
        found &= Q(accepted_at__gte=self.start) if self.start else Q()
        return found & (Q(accepted_at__lt=self.end) if self.end else Q())

    @property
    def before(self) -> Q | None:
        """Of recipients: accepted before, and not final at the start. None where they do not belong to it."""
        if not (self.waiting_at_start and self.start):
            return None
        still = Q(state__in=Recipient.WAITING) | Q(state__in=Recipient.FINAL, final_at__gte=self.start)
        return still & Q(message__account_id=self.account_id, accepted_at__lt=self.start)

    @property
    def recipients(self) -> Q:
        """Of recipients: all in the set."""
        if not (self.start or self.end):  # spares a look at each message
            return Q(next_hop__route__account_id=self.account_id)
        within = Q(message__account_id=self.account_id)
        within &= Q(message__accepted_at__gte=self.start) if self.start else Q()
        within &= Q(message__accepted_at__lt=self.end) if self.end else Q()
        return within if self.before is None else within | self.before


@dataclass(frozen=True)
class Books:
    """The reconciliation of a scope. Duplicates and repeats are told, and are no fault of the books.

    Repeats are looked for in a stretch of time only.
    """

    balance: Balance
    problems: tuple[Problem, ...]
    duplicates: Problem | None
    repeated_message_ids: int | None

    @property
    def balanced(self) -> bool:
        return self.balance.balanced and not self.problems


@dataclass(frozen=True)
class Day:
    """The balance of what was accepted on a day in UTC."""

    day: date
    balance: Balance


def reconcile(scope: Scope) -> Books:
    """Balance and every check. Reads the whole scope, seconds for a million recipients: on demand only."""
    with _snapshot():
        return Books(
            balance=balance(scope),
            problems=problems(scope.recipients, scope.accepted),
            duplicates=duplicates(scope.recipients),
            repeated_message_ids=repeated_message_ids(scope.accepted) if scope.start else None,
        )


def balance(scope: Scope) -> Balance:
    """The figures alone; two queries, three for an event's set."""
    messages = Message.objects.filter(scope.accepted)
    accepted = messages.aggregate(number=Sum(_taken()))["number"] or 0
    if scope.before is not None:
        accepted += Recipient.objects.filter(scope.before).count()
    return Balance(accepted=accepted, **Recipient.objects.filter(scope.recipients).aggregate(**_COUNTS))


def reconcile_account(account_id: int) -> Balance:
    """What was accepted and where it is now. Reads every recipient of the account: on demand only."""
    with _snapshot():
        return balance(Scope(account_id))


def reconcile_days(scope: Scope) -> list[Day]:
    """The balance of each day in UTC on which anything was accepted, the earliest first; two queries."""
    with _snapshot():
        messages = Message.objects.filter(scope.accepted)
        accepted = dict(
            messages.annotate(bucket=Bucket("accepted_at", seconds=DAY_SECONDS))
            .values_list("bucket")
            .annotate(number=Sum(_taken()))
            .order_by()
        )
        within = Recipient.objects.filter(Scope(scope.account_id, scope.start, scope.end).recipients)
        rows = within.annotate(bucket=Bucket("message__accepted_at", seconds=DAY_SECONDS)).values("bucket")
        counted = rows.annotate(**_COUNTS).values_list("bucket", *_COUNTS).order_by()
        became = {bucket: dict(zip(_COUNTS, counts, strict=True)) for bucket, *counts in counted}
    return [
        Day(
            instant_of(bucket * DAY_SECONDS).date(),
            Balance(
                accepted=accepted.get(bucket) or 0,
                **became.get(bucket, dict.fromkeys(_COUNTS, 0)),
            ),
        )
        for bucket in sorted(accepted.keys() | became.keys())
    ]


_COUNTS = {
    "delivered": Count("pk", filter=Q(state=_STATE.DELIVERED)),
    "bounced": Count("pk", filter=Q(state=_STATE.BOUNCED)),
    "rejected": Count("pk", filter=Q(state=_STATE.REJECTED)),
    "waiting": Count("pk", filter=Q(state__in=Recipient.WAITING)),
}


def _taken() -> Case:
    """Recipients of a message as it was accepted; where that was not noted, as many as there are."""
    rows = (
        Recipient.objects.filter(message=OuterRef("pk"))
        .order_by()
        .values("message")
        .annotate(number=Count("pk"))
        .values("number")
    )
    return Case(
        When(taken__isnull=False, then=F("taken")),
        default=Coalesce(Subquery(rows), 0),
        output_field=IntegerField(),
    )


@contextmanager
def _snapshot() -> Iterator[None]:
    """All queries see one moment: mail that moves meanwhile must not look lost. Nobody waits for it."""
    if connection.in_atomic_block:
        yield
        return
    if connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
        return
    # Not `atomic()`: our transactions on SQLite are immediate, and this would keep the gateway waiting.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
