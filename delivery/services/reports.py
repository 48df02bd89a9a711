"""Writing reports to senders: what is known of a batch of messages, and the reports as mail of their own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import BinaryField, Max
from django.db.models.functions import Substr

from accounts.models import MailDomain
from delivery import bounces as building
from delivery.gateway.headers import header_block
from delivery.models import (
    Attempt,
    DeliverySettings,
    Message,
    MessageContent,
    Pause,
    Recipient,
    Route,
)
from delivery.rules import bounces
from delivery.services.hops import domain_of, next_hops

logger = logging.getLogger(__name__)

HEADER_RETURNED = 64 * 1024  # bytes
CONTENT_RETURNED = 256 * 1024  # bytes; of larger messages only the header goes back, also with RET=FULL
LOCALLY = "127.0.0.1"


@dataclass(frozen=True)
class Batch:
    """Messages with some of their recipients, and what is needed to report on them; read in few queries."""

    now: datetime
    messages: Mapping[int, Message]
    recipients: Sequence[Recipient]
    attempts: Mapping[int, Attempt]  # the last one, by recipient
    settings: Mapping[int, DeliverySettings]
    own_domains: frozenset[tuple[int, str]]
    routes: Mapping[tuple[int, str], int]  # the oldest, by account and kind
    paused: Mapping[int, timedelta]

    @classmethod
    def load(cls, messages: Mapping[int, Message], recipients: Sequence[Recipient], now: datetime) -> Batch:
        """`recipients` come with their next hop and its route."""
        accounts = {message.account_id for message in messages.values()}
        own = MailDomain.objects.filter(account_id__in=accounts)
        named = own.filter(name__in={domain_of(message.sender) for message in messages.values()})
        routes: dict[tuple[int, str], int] = {}
        for route in Route.objects.filter(account_id__in=accounts).order_by("pk"):
            routes.setdefault((route.account_id, route.kind), route.pk)
        return cls(
            now=now,
            messages=messages,
            recipients=recipients,
            attempts=_last_attempts([recipient.pk for recipient in recipients]),
            settings=DeliverySettings.objects.in_bulk(accounts),
            own_domains=frozenset(named.values_list("account_id", "name")),
            routes=routes,
            paused=_paused(accounts, now),
        )

    def settings_of(self, account_id: int) -> DeliverySettings:
        return self.settings.get(account_id) or DeliverySettings(account_id=account_id)

    def clock(self, account_id: int) -> datetime:
        """The account's running clock."""
        return self.now - self.paused.get(account_id, timedelta())

    def silence(self, recipient: Recipient) -> bounces.Silence | None:
        """Why the sender is not told that this recipient was given up; None when it is."""
        return self._silence(recipient, recipient.notify)

    def may_be_told(self, recipient: Recipient) -> bool:
        """Whether anything may be said to the sender, whatever NOTIFY says of failures."""
        return self._silence(recipient, "") is None

    def _silence(self, recipient: Recipient, notify: str) -> bounces.Silence | None:
        message = self.messages[recipient.message_id]
        always = self.settings_of(message.account_id).bounce == DeliverySettings.Bounce.ALWAYS
        return bounces.silence(message.sender, notify, self.is_authentic(recipient, message), always=always)

    def is_authentic(self, recipient: Recipient, message: Message) -> bool:
        """Proven at acceptance, or sent out by one of the account's own people."""
        sent_out = recipient.next_hop.route.kind == Route.Kind.OUTBOUND
        return bool(message.authentic) or (sent_out and self.is_own(message))

    def is_own(self, message: Message) -> bool:
        return (message.account_id, domain_of(message.sender)) in self.own_domains

    def ways(self, message_ids: Iterable[int]) -> dict[int, int]:
        """The next hop to each message's sender, by message; those that have none are left out.

        The account's own people are reached by the inbound route, all others by the outbound one.
        """
        wanted: dict[int, tuple[int, str]] = {}
        for message_id in message_ids:
            message = self.messages[message_id]
            own = self.is_own(message)
            kind = Route.Kind.INBOUND if own else Route.Kind.OUTBOUND
            route = self.routes.get((message.account_id, kind))
            if route is not None:
                wanted[message_id] = (route, "" if own else domain_of(message.sender))
        hops = next_hops(set(wanted.values()), self.now)
        return {message_id: hops[place] for message_id, place in wanted.items()}


def _last_attempts(recipient_ids: Collection[int]) -> dict[int, Attempt]:
    last = Attempt.objects.filter(recipient_id__in=recipient_ids).values("recipient").order_by()
    found = Attempt.objects.filter(pk__in=last.annotate(last=Max("pk")).values("last"))
    return {attempt.recipient_id: attempt for attempt in found}


def _paused(accounts: Collection[int], now: datetime) -> dict[int, timedelta]:
    """How long each account was paused before `now`."""
    total: dict[int, timedelta] = {}
    for pause in Pause.objects.filter(account_id__in=accounts, started_at__lt=now):
        length = min(pause.ended_at or now, now) - pause.started_at
        total[pause.account_id] = total.get(pause.account_id, timedelta()) + length
    return total


def write(
    batch: Batch,
    about: Mapping[int, Sequence[Recipient]],
    ways: Mapping[int, int],
    kind: Message.Report,
) -> set[int]:
    """Write one report for each message about the given recipients of it, within the caller's transaction.

    Returns the messages for which our own code could not make one.
    """
    made: dict[int, building.Built] = {}
    ids: dict[int, str] = {}
    contents = _contents([batch.messages[message_id] for message_id in about], kind)
    for message_id, recipients in about.items():
        ids[message_id] = f"<{secrets.token_hex(16)}@{settings.GATEWAY_NAME}>"
        built = _built(batch, batch.messages[message_id], recipients, ids[message_id], contents, kind)
        if built:
            made[message_id] = built
    rows = Message.objects.bulk_create(
        _message(batch, batch.messages[message_id], built, ids[message_id], kind)
        for message_id, built in made.items()
    )
    MessageContent.objects.bulk_create(
        MessageContent(message=row, data=built.data) for row, built in zip(rows, made.values(), strict=True)
    )
    Recipient.objects.bulk_create(
        Recipient(
            message=row,
            next_hop_id=ways[message_id],
            address=batch.messages[message_id].sender,
            accepted_at=batch.now,
            next_attempt_at=batch.now,
            expires_at=batch.clock(row.account_id) + _lifetime(batch, row.account_id),
        )
        for row, message_id in zip(rows, made, strict=True)
    )
    return set(about) - set(made)


def _lifetime(batch: Batch, account_id: int) -> timedelta:
    return timedelta(hours=batch.settings_of(account_id).queue_hours)


def _message(batch: Batch, about: Message, built: building.Built, message_id: str, kind: str) -> Message:
    return Message(
        account_id=about.account_id,
        accepted_at=batch.now,
        sender="",
        size=len(built.data),
        smtputf8=built.smtputf8,
        body_8bit=built.body_8bit,
        client_address=LOCALLY,
        message_id=message_id,
        subject=built.subject[:255],
        header_from=f"MAILER-DAEMON@{settings.GATEWAY_NAME}"[:255],
        report=kind,
        taken=1,
        report_of=about,
    )


def _contents(messages: Sequence[Message], kind: Message.Report) -> dict[int, tuple[bytes, bool]]:
    """What goes back of each message, and whether that is all of it, in two queries."""
    whole = {
        message.pk
        for message in messages
        if kind == Message.Report.FAILURE and message.ret == "FULL" and message.size <= CONTENT_RETURNED
    }
    rows = MessageContent.objects.filter(pk__in=[message.pk for message in messages])
    start = Substr("data", 1, HEADER_RETURNED, output_field=BinaryField())
    headers = rows.exclude(pk__in=whole).annotate(start=start).values_list("pk", "start")
    found = {pk: (bytes(data), False) for pk, data in headers}
    found |= {pk: (bytes(data), True) for pk, data in rows.filter(pk__in=whole).values_list("pk", "data")}
    return found


def _built(
    batch: Batch,
    message: Message,
    recipients: Sequence[Recipient],
    message_id: str,
    contents: Mapping[int, tuple[bytes, bool]],
    kind: Message.Report,
) -> building.Built | None:
    """The report, or None where the message makes our own code fail."""
    data, whole = contents.get(message.pk, (b"", False))
    header = header_block(data, limit=HEADER_RETURNED)
    try:
        return building.build(
            building.Report(
                gateway=settings.GATEWAY_NAME,
                message_id=message_id,
                sender=message.sender,
                at=batch.now,
                arrived_at=message.accepted_at,
                fates=tuple(_fate(batch, recipient, kind) for recipient in recipients),
                # Of a header that was cut the last line is not whole.
                header=header if header.endswith(b"\r\n") else header[: header.rfind(b"\r\n") + 2],
                content=data if whole else None,
                delayed=kind == Message.Report.DELAY,
                relayed=kind == Message.Report.RELAYED,
                envid=message.envid,
                smtputf8=message.smtputf8,
                subject=message.subject,
                original_id=message.message_id,
            )
        )
    except Exception as error:
        # Only the kind of error: its text could quote the message.
        logger.error("No report about message %s could be made: %s", message.pk, type(error).__name__)
        return None


def _fate(batch: Batch, recipient: Recipient, kind: Message.Report) -> building.Fate:
    attempt, hop = batch.attempts.get(recipient.pk), recipient.next_hop
    tried = [at for at in (attempt and attempt.at, hop.last_failure_at) if at]
    words, tried_at = recipient.last_reply or hop.last_reply, max(tried, default=None)
    refused = attempt and attempt.result == Attempt.Result.REFUSED and _words(attempt) == words
    over = recipient.expires_at <= batch.clock(hop.route.account_id)
    by_hand = kind == Message.Report.FAILURE and not (refused or over)
    if kind == Message.Report.RELAYED:
        status, words = bounces.relayed_status(attempt.reply if attempt else ""), ""
    elif kind == Message.Report.DELAY:
        status = bounces.delay_status(words[4:])
    elif by_hand:
        status = bounces.REFUSED
    elif attempt and refused:
        status, tried_at = bounces.refusal_status(attempt.code, attempt.reply), attempt.at
    else:
        status = bounces.EXPIRED
    return building.Fate(
        address=recipient.address,
        status=status,
        words=words,
        remote=_host_name(attempt.host) if attempt else "",
        orcpt=recipient.orcpt,
        tried_at=tried_at,
        expired=not (refused or by_hand),
        by_hand=by_hand,
        retry_until=batch.now + (recipient.expires_at - batch.clock(hop.route.account_id)),
    )


def _words(attempt: Attempt) -> str:
    """As `Recipient.last_reply` has them."""
    return f"{attempt.code} {attempt.reply}" if attempt.code else attempt.reply


def _host_name(host: str) -> str:
    """`host:port` without the port; an address as RFC 5321 literal."""
    name = host.rpartition(":")[0]
    if ":" in name:
        return f"[IPv6:{name.strip('[]')}]"
    return f"[{name}]" if name.replace(".", "").isdigit() else name
