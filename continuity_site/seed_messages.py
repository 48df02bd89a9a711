"""Thirty days of believable mail for the demo account, to look at and to measure on.

Nearly all of it was delivered; of today's some waits, and a little is held, in quarantine, given up,
bounced or rejected. Contents are there where they still would be: for what waits, and seven days long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection, transaction

from accounts.models import Account
from continuity_site import seed_words as words
from continuity_site.seed import DOMAIN, PEOPLE
from delivery.models import Attempt, KnownRecipient, Message, MessageContent, NextHop, Recipient, Route
from delivery.services import ensure_next_hop
from delivery.services.bulk import Row, Table, stored

DAYS = 30
KEPT = timedelta(days=7)  # contents of what is final
BATCH = 4000  # messages a transaction
LIFETIME = timedelta(hours=96)
State, Result = Recipient.State, Attempt.Result

# How often, of all that is old enough. What waits is of the last hours only.
FATES = (
    (State.DELIVERED, 0.9915),
    (State.BOUNCED, 0.004),
    (State.REJECTED, 0.003),
    (State.EXPIRED, 0.001),
    (State.HELD, 0.0004),
    (State.QUARANTINED, 0.0001),
)
TODAY = timedelta(hours=20)
WAITING_TODAY = 0.15
SECOND_TRY = 0.03  # delivered after a refusal for now
# Mail by hour of the day, and on weekends.
HOURS = (2, 1, 1, 1, 1, 2, 4, 9, 16, 20, 19, 17, 13, 16, 18, 18, 16, 13, 9, 7, 6, 5, 4, 3)
WEEKEND = 0.25

_MESSAGES = Table(
    Message,
    *("id", "account_id", "accepted_at", "sender", "size", "taken", "client_address", "helo", "tls"),
    *("authentic", "message_id", "subject", "header_from", "content_deleted_at"),
)
_CONTENTS = Table(MessageContent, "message_id", "data", binary=("int8", "bytea"))
_RECIPIENTS = Table(
    Recipient,
    *("id", "message_id", "next_hop_id", "address", "state", "accepted_at", "next_attempt_at", "expires_at"),
    *("attempts", "faults", "final_at", "last_reply"),
)
_ATTEMPTS = Table(
    Attempt,
    *("recipient_id", "next_hop_id", "at", "duration_ms", "host", "result", "stage", "code", "reply"),
)


@dataclass
class _Batch:
    """Rows on their way into the database, in one transaction."""

    messages: list[Row] = field(default_factory=list)
    contents: list[Row] = field(default_factory=list)
    recipients: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    bounced: list[tuple[int, str, datetime]] = field(default_factory=list)  # message, its sender, when


def seed_messages(
    account: Account, number: int, now: datetime, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Add `number` messages, the newest accepted just before `now`. `progress` is told how many are there.

    Raises ValueError for an account that is not for demonstration: invented mail has no place elsewhere.
    """
    if not account.is_demo:
        raise ValueError(f"{account} is not a demo account: it gets no invented mail.")
    hop = ensure_next_hop(Route.objects.filter(account=account, kind=Route.Kind.INBOUND).order_by("pk")[0])
    writer = _Writer(account, hop, now)
    writer.know_addresses()
    done = 0
    instants = _instants(number, now)
    while done < number:
        done += writer.write(instants, min(BATCH, number - done))
        progress(done)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # the planner knows nothing of so many new rows yet


def _instants(number: int, now: datetime) -> Iterator[datetime]:
    """So many instants of the last days in ascending order, as mail comes in an office."""
    start = now - timedelta(days=DAYS)
    slots = [start + timedelta(hours=hour) for hour in range(DAYS * 24)]
    weights = [HOURS[slot.hour] * (WEEKEND if slot.weekday() >= 5 else 1) for slot in slots]
    scale, owed, given = number / sum(weights), 0.0, 0
    for place, (slot, weight) in enumerate(zip(slots, weights, strict=True)):
        owed += weight * scale
        here = number - given if place == len(slots) - 1 else int(owed) - given
        given += here
        for step in range(here):
            yield slot + timedelta(seconds=3599 * (step + random.random()) / here)  # noqa: S311


class _Writer:
    def __init__(self, account: Account, hop: NextHop, now: datetime) -> None:
        self.account, self.hop, self.now = account, hop, now
        self.random = random.Random()  # noqa: S311
        self.host = f"{host.hostname}:{host.port}" if (host := hop.route.hosts.first()) else "127.0.0.1:25"
        self.addresses = [f"{local}@{DOMAIN}" for _, local in PEOPLE] * 3
        self.addresses += [f"{local}@{DOMAIN}" for local in words.LOCAL_PARTS]
        states, shares = zip(*FATES, strict=True)
        self._fates, self._shares = states, shares

    def know_addresses(self) -> None:
        """The colleagues without a mailbox of their own in the demo are known to the gateway."""
        domain = self.account.domains.get(name=DOMAIN)
        KnownRecipient.objects.bulk_create(
            (
                KnownRecipient(
                    domain=domain, address=f"{local}@{DOMAIN}", source=KnownRecipient.Source.IMPORTED
                )
                for local in words.LOCAL_PARTS
            ),
            ignore_conflicts=True,
        )

    def write(self, instants: Iterator[datetime], number: int) -> int:
        """One transaction of `number` messages."""
        batch = _Batch()
        with transaction.atomic():
            drawn = [self.random.choices((1, 2, 3, 5), (90, 7, 2, 1))[0] for _ in range(number)]
            message_ids = _MESSAGES.new_ids(number)
            recipient_ids = iter(_RECIPIENTS.new_ids(sum(drawn)))
            for pk, copies in zip(message_ids, drawn, strict=True):
                self._message(batch, pk, [next(recipient_ids) for _ in range(copies)], next(instants))
            _MESSAGES.insert(batch.messages)
            _CONTENTS.insert(batch.contents)
            _RECIPIENTS.insert(batch.recipients)
            _ATTEMPTS.insert(batch.attempts)
            self._reports(batch)
        return number

    def _reports(self, batch: _Batch) -> None:
        """What told the senders, as the books want it; nothing is left of it but that."""
        reports = Message.objects.bulk_create(
            Message(
                account=self.account,
                accepted_at=at,
                size=2000,
                taken=1,
                client_address="127.0.0.1",
                report=Message.Report.FAILURE,
                report_of_id=pk,
                subject="Undeliverable mail",
                content_deleted_at=at,
            )
            for pk, _sender, at in batch.bounced
        )
        recipients = Recipient.objects.bulk_create(
            Recipient(
                message=report,
                next_hop=self.hop,
                address=sender,
                state=State.DELIVERED,
                accepted_at=at,
                next_attempt_at=at,
                expires_at=at + LIFETIME,
                attempts=1,
                final_at=at,
            )
            for report, (_pk, sender, at) in zip(reports, batch.bounced, strict=True)
        )
        taken = {"next_hop": self.hop, "duration_ms": 30, "host": self.host, "result": Result.DELIVERED}
        Attempt.objects.bulk_create(
            Attempt(recipient=one, at=one.accepted_at, stage="end", code=250, reply="2.0.0 Ok", **taken)
            for one in recipients
        )

    def _message(self, batch: _Batch, pk: int, recipients: list[int], at: datetime) -> None:
        letter = words.letter(self.random, at, pk)
        to = self.random.sample(self.addresses, len(recipients) * 2)
        addresses = list(dict.fromkeys(to))[: len(recipients)]
        keep = self.now - at < KEPT
        for recipient, address in zip(recipients, addresses, strict=False):
            keep |= self._recipient(
                batch, recipient, pk, address, at, letter.sender if letter.authentic else ""
            )
        size = letter.size
        if keep:
            data = letter.content(addresses[0])
            batch.contents.append((pk, data))
            size = len(data)
        batch.messages.append(
            (
                *(pk, self.account.pk, stored(at), letter.sender, size, len(addresses), letter.client),
                *(letter.helo, "TLSv1.3", letter.authentic, letter.message_id, letter.subject),
                *(letter.header_from, None if keep else stored(at + KEPT)),
            )
        )

    def _recipient(self, batch: _Batch, pk: int, message: int, address: str, at: datetime, told: str) -> bool:
        """Append the recipient, its attempts, and who is `told` if it bounced.

        Whether the content must be there, however old it is.
        """
        state = self._fate(at, bool(told))
        tries = self._tries(state, at)
        for when, result, stage, code, reply in tries:
            took = self.random.randint(12, 90) if code else 0
            batch.attempts.append(
                (pk, self.hop.pk, stored(when), took, self.host, result, stage, code, reply)
            )
        last = tries[-1][0] if tries else at
        if state == State.BOUNCED:
            batch.bounced.append((message, told, last))
        final = stored(last) if state in Recipient.FINAL else None
        due = max(last, self.now + timedelta(minutes=self.random.uniform(2, 240)))
        words_of_last = (
            "" if state == State.DELIVERED or not tries else f"{tries[-1][3] or ''} {tries[-1][4]}"
        )
        faults = sum(result == Result.FAULT for _, result, *_ in tries)
        batch.recipients.append(
            (
                *(pk, message, self.hop.pk, address, state, stored(at)),
                *(stored(due if state == State.QUEUED else last), stored(at + LIFETIME)),
                *(len(tries) - faults, faults, final, words_of_last.strip()),
            )
        )
        return state not in Recipient.FINAL

    def _fate(self, at: datetime, told: bool) -> str:
        if self.now - at < TODAY and self.random.random() < WAITING_TODAY:
            return State.QUEUED
        fate: str = self.random.choices(self._fates, self._shares)[0]
        # A forged or empty sender is not told.
        return State.REJECTED if fate == State.BOUNCED and not told else fate

    def _tries(self, state: str, at: datetime) -> list[tuple[datetime, str, str, int | None, str]]:
        """When, result, stage, code and words of each attempt."""
        soon = at + timedelta(milliseconds=self.random.uniform(15, 300))
        if state == State.HELD:
            return []
        if state == State.QUARANTINED:
            fault = (Result.FAULT, "", None, "Fault of the courier: ValueError")
            return [(soon + timedelta(minutes=minute), *fault) for minute in (0, 1, 2)]
        if state in (State.BOUNCED, State.REJECTED, State.EXPIRED):
            return [(soon, Result.REFUSED, *self.random.choice(words.REFUSALS))]
        deferred = (Result.DEFERRED, *self.random.choice(words.DEFERRALS))
        if state == State.QUEUED:
            return [(soon, *deferred)]
        taken = (Result.DELIVERED, "end", 250, words.taken(self.random))
        if self.random.random() < SECOND_TRY:
            later = min(soon + timedelta(seconds=self.random.uniform(55, 65)), self.now)
            return [(soon, *deferred), (later, *taken)]
        return [(min(soon, self.now), *taken)]
