"""Writing down what became of transactions: many of them in one commit."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from accounts.models import MailDomain, Person
from accounts.services import SCHEDULER, Decision, decision
from delivery import rules
from delivery.models import Attempt, DeliverySettings, KnownRecipient, NextHop, Recipient, Route
from delivery.reads import running_now
from delivery.rules import Outcome, Verdict
from delivery.services.bulk import Table, stored
from delivery.services.claims import FREE, paused_hops
from delivery.services.hops import Memory, hop_of, limits_of, locked, put, record_transition

EXPIRE_AT_ONCE = 1000  # rows a transaction
LEARNED_KEPT = 100_000
_spread = random.SystemRandom()


@dataclass(frozen=True)
class Transaction:
    """What one claimed message came to. `released` are recipients given back untried."""

    hop_id: int
    sender: str = ""
    outcomes: tuple[Outcome, ...] = ()
    released: tuple[int, ...] = ()
    host: str = ""
    milliseconds: int = 0
    offered: tuple[int | None, bool] | None = None  # SIZE in bytes, SMTPUTF8
    to_tell: tuple[int, ...] = ()  # where delivered: the server will not tell the sender who wants to know


@dataclass
class _Group:
    """The transactions of one next hop in a batch, and what they come to."""

    hop_id: int
    transactions: list[Transaction]
    row: NextHop | None = None
    before: rules.Hop | None = None
    after: rules.Hop | None = None
    judged: list[tuple[Transaction, Outcome, bool]] = field(default_factory=list)


class _StateMoves(Exception):  # noqa: N818
    """The batch changes the state of a next hop: that must be decided under the account lock."""

    def __init__(self, group: _Group) -> None:
        super().__init__()
        self.group = group


def record(
    transactions: Sequence[Transaction], courier: str, now: datetime, memory: Memory
) -> dict[int, rules.Hop]:
    """Write attempts, recipients and next hops, in one transaction unless the state of a next hop changes.

    Such a change is a decision and takes the account lock, one next hop at a time. Returns the next hops
    as they are now. May be repeated after a database error: nothing was written then.
    """
    by_hop: dict[int, list[Transaction]] = {}
    for done in transactions:
        by_hop.setdefault(done.hop_id, []).append(done)
    groups = [_Group(hop_id, some) for hop_id, some in by_hop.items()]
    known = _known_addresses(_refused_addresses(transactions))
    calm, moving = list(groups), list[_Group]()
    while calm:
        try:
            with transaction.atomic():
                _write(calm, courier, now, memory, known)
            break
        except _StateMoves as moves:
            calm.remove(moves.group)
            moving.append(moves.group)
    for group in moving:
        assert group.row
        with decision(group.row.route.account_id, SCHEDULER, now=now) as made:
            _write([group], courier, now, memory, known, made)
    result = {group.hop_id: group.after for group in groups if group.after}
    memory.hops.update(result)
    return result


def _moves(group: _Group, row: NextHop, known: Collection[str], now: datetime, memory: Memory) -> bool:
    _judge(group, row, known, now, memory)
    assert group.before
    assert group.after
    return group.before.state != group.after.state


def _judge(group: _Group, row: NextHop, known: Collection[str], now: datetime, memory: Memory) -> None:
    """Run the rules over the group's transactions, beginning with the state in `row`."""
    limits = limits_of(row.route)
    hop = hop_of(row, memory)
    group.row, group.before, group.judged = row, hop, []
    for done in group.transactions:
        tolerant = hop.tolerant
        hop, outcomes = rules.judge(hop, done.sender, done.outcomes, done.milliseconds, known, now, limits)
        tolerant |= hop.tolerant
        # What DNS says for certain is no mood of a server that is being restored.
        group.judged += [(done, outcome, tolerant and outcome.stage != "dns") for outcome in outcomes]
        _note_on_hop(row, done, outcomes, now)
    group.after = hop
    put(row, hop)


def _note_on_hop(row: NextHop, done: Transaction, outcomes: Sequence[Outcome], now: datetime) -> None:
    for outcome in outcomes:
        if outcome.verdict == Verdict.DELIVERED:
            row.last_success_at = now
        elif outcome.verdict == Verdict.HOST_FAILURE:
            row.last_failure_at, row.last_reply = now, outcome.words
    if done.offered:
        row.offered_size, row.offered_smtputf8 = done.offered


def _write(
    groups: Sequence[_Group],
    courier: str,
    now: datetime,
    memory: Memory,
    known: Collection[str],
    made: Decision | None = None,
) -> None:
    rows = {row.pk: row for row in locked(group.hop_id for group in groups)}
    for group in groups:
        row = rows[group.hop_id]
        if _moves(group, row, known, now, memory) and made is None:
            raise _StateMoves(group)
        row.save()
        if made:
            assert group.before
            assert group.after
            record_transition(made, row, group.before, group.after)
    _write_attempts(groups, now)
    _write_final(groups, courier, now)
    for group in groups:
        _write_waiting(group, courier, now)
        _learn(group, memory)


_ATTEMPTS = Table(
    Attempt,
    "recipient_id",
    "next_hop_id",
    "at",
    "duration_ms",
    "host",
    "result",
    "stage",
    "code",
    "reply",
)


def _write_attempts(groups: Sequence[_Group], now: datetime) -> None:
    at = stored(now)
    _ATTEMPTS.insert(
        (
            outcome.recipient_id,
            group.hop_id,
            at,
            done.milliseconds,
            done.host,
            outcome.verdict.value,
            outcome.stage,
            outcome.code,
            outcome.reply,
        )
        for group in groups
        for done, outcome, _ in group.judged
    )


def _write_final(groups: Sequence[_Group], courier: str, now: datetime) -> None:
    """Delivered recipients, and those that are as they were before."""
    delivered: list[int] = []
    to_tell: set[int] = set()
    untouched: list[int] = []
    for group in groups:
        for done in group.transactions:
            untouched += done.released
            to_tell.update(done.to_tell)
        for _, outcome, _ in group.judged:
            if outcome.verdict == Verdict.DELIVERED:
                delivered.append(outcome.recipient_id)
            elif outcome.verdict == Verdict.HOST_FAILURE:
                untouched.append(outcome.recipient_id)
    if delivered:
        # Whoever holds the claim by now: the server has the message.
        open_ = Recipient.objects.exclude(state__in=Recipient.FINAL)
        if to_tell:
            open_.filter(pk__in=to_tell.intersection(delivered)).update(relay_due=True)
        open_.filter(pk__in=delivered).update(
            state=Recipient.State.DELIVERED,
            final_at=now,
            attempts=F("attempts") + 1,
            claimed_by="",
            claimed_at=None,
            last_reply="",
        )
    if untouched:
        Recipient.objects.filter(pk__in=untouched, state=Recipient.State.SENDING, claimed_by=courier).update(
            **FREE
        )


def _write_waiting(group: _Group, courier: str, now: datetime) -> None:
    """Recipients that were tried and wait, or that are given up."""
    open_ = (Verdict.DEFERRED, Verdict.REFUSED, Verdict.FAULT)
    judged = {
        outcome.recipient_id: (outcome, tolerant)
        for _, outcome, tolerant in group.judged
        if outcome.verdict in open_
    }
    if not judged:
        return
    assert group.row
    account_id = group.row.route.account_id
    clock = running_now(account_id, now)
    limit = queue_limit(account_id)
    mine = list(
        Recipient.objects.filter(
            pk__in=judged, state=Recipient.State.SENDING, claimed_by=courier
        ).select_for_update(no_key=True)
    )
    for recipient in mine:
        outcome, tolerant = judged[recipient.pk]
        recipient.claimed_by, recipient.claimed_at = "", None
        recipient.last_reply = outcome.words
        recipient.state = Recipient.State.QUEUED
        if outcome.verdict == Verdict.FAULT:
            _fault(recipient, now)
        elif outcome.verdict == Verdict.REFUSED:
            _refuse(recipient, now, tolerant)
        else:
            _defer(recipient, now, clock, limit)
            if tolerant and not rules.is_about_the_recipient(outcome.reply):
                # The server asked for less, not for later: an old message must not wait for hours.
                recipient.next_attempt_at = min(recipient.next_attempt_at, now + rules.THROTTLED_RETRY)
    fields = ("state", "claimed_by", "claimed_at", "last_reply", "attempts", "faults", "next_attempt_at")
    Recipient.objects.bulk_update(mine, fields, batch_size=100)


def _fault(recipient: Recipient, now: datetime) -> None:
    recipient.faults += 1
    recipient.next_attempt_at = now + rules.FAULT_RETRY
    if recipient.faults >= rules.FAULTS_TO_QUARANTINE:
        recipient.state = Recipient.State.QUARANTINED


def _refuse(recipient: Recipient, now: datetime, tolerant: bool) -> None:
    recipient.attempts += 1
    if tolerant:
        recipient.next_attempt_at = now + rules.TOLERANT_RETRY * _spread.uniform(0.8, 1)
    else:
        recipient.state = Recipient.State.EXPIRED


def _defer(recipient: Recipient, now: datetime, clock: datetime, limit: timedelta) -> None:
    recipient.attempts += 1
    age = max(limit - (recipient.expires_at - clock), timedelta())
    next_age = rules.next_attempt_age(age, limit, _spread.uniform(-1, 1))
    if next_age is None:
        recipient.state = Recipient.State.EXPIRED
    else:
        recipient.next_attempt_at = now + (next_age - age)


def queue_limit(account_id: int) -> timedelta:
    """The age, on the running clock, at which mail of the account is given up."""
    hours = DeliverySettings.objects.filter(pk=account_id).values_list("queue_hours", flat=True).first()
    return timedelta(hours=hours or 96)


def _refused_addresses(transactions: Iterable[Transaction]) -> set[str]:
    return {
        outcome.address
        for done in transactions
        for outcome in done.outcomes
        if outcome.verdict == Verdict.REFUSED and outcome.stage == "rcpt"
    }


def _known_addresses(addresses: Collection[str]) -> set[str]:
    """Those of the addresses that are known to exist, as they were written."""
    if not addresses:
        return set()
    lower = {address.lower() for address in addresses}
    known = set(KnownRecipient.objects.filter(address__in=lower).values_list("address", flat=True))
    known |= set(Person.objects.filter(address__in=lower).values_list("address", flat=True))
    return {address for address in addresses if address.lower() in known}


def _learn(group: _Group, memory: Memory) -> None:
    """A mail server that took mail for an address knows it: so does the gateway from now on."""
    assert group.row
    if group.row.route.kind != Route.Kind.INBOUND:
        return
    addresses = {
        outcome.address.lower()
        for _, outcome, _ in group.judged
        if outcome.verdict == Verdict.DELIVERED and outcome.address.lower() not in memory.learned
    }
    if not addresses:
        return
    if len(memory.learned) > LEARNED_KEPT:
        memory.learned.clear()
    domains = {address.rpartition("@")[2] for address in addresses}
    ours = dict(
        MailDomain.objects.filter(account_id=group.row.route.account_id, name__in=domains).values_list(
            "name", "pk"
        )
    )
    missing = sorted(addresses - _known_addresses(addresses))
    KnownRecipient.objects.bulk_create(
        (
            KnownRecipient(address=address, domain_id=ours[domain], source=KnownRecipient.Source.LEARNED)
            for address in missing
            if (domain := address.rpartition("@")[2]) in ours
        ),
        ignore_conflicts=True,
    )
    memory.learned |= addresses


def expire_due(now: datetime) -> int:
    """Give up mail whose time is over on routes that are down: the last failure there came after its limit.

    Where the route is up, the attempt at the limit decides. Paused and recovering routes give up nothing.
    Returns the number of recipients whose bounce is now due.
    """
    expired = 0
    down = NextHop.objects.filter(state=NextHop.State.DOWN, last_failure_at__isnull=False)
    for row in down.exclude(pk__in=paused_hops()).select_related("route"):
        assert row.last_failure_at
        tried_at = running_now(row.route.account_id, min(row.last_failure_at, now))
        over = Recipient.objects.filter(
            next_hop=row, state=Recipient.State.QUEUED, expires_at__lte=tried_at
        ).order_by("expires_at")[:EXPIRE_AT_ONCE]
        expired += Recipient.objects.filter(
            pk__in=list(over.values_list("pk", flat=True)), state=Recipient.State.QUEUED
        ).update(state=Recipient.State.EXPIRED, last_reply=row.last_reply, next_attempt_at=now)
    return expired
