"""Accepting mail: what the gateway took becomes rows, many messages in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from delivery.models import DeliverySettings, Message, MessageContent, NextHop, Recipient, Route
from delivery.reads import running_now
from delivery.services.bulk import Row, Table, stored
from delivery.services.sinks import file_mail


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One RCPT. `notify` and `orcpt` are as the client gave them (RFC 3461).

    With a `sink_id` it is one of the gateway's own addresses: filed there, it goes over no next hop.
    """

    address: str
    next_hop_id: int
    notify: str = ""
    orcpt: str = ""
    sink_id: int = 0


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message of one account. `data` is stored as it is: line ends settled, our Received line in front."""

    account_id: int
    sender: str
    data: bytes | bytearray
    recipients: Sequence[NewRecipient]
    client_address: str
    helo: str = ""
    tls: str = ""
    smtputf8: bool = False
    body_8bit: bool = False
    ret: str = ""
    envid: str = ""
    authentic: bool | None = None
    auth_results: str = ""
    message_id: str = ""
    subject: str = ""
    header_from: str = ""


def accept(messages: Sequence[NewMessage], *, now: datetime | None = None) -> None:
    """Store the whole batch in one transaction: when this returns, all of it is committed.

    Whatever the database raises passes through, and then nothing of the batch is stored.
    """
    now = now or timezone.now()
    sunk = [(to.sink_id, bytes(one.data)) for one in messages for to in one.recipients if to.sink_id]
    if sunk:
        messages = _without_sinks(messages)
    with transaction.atomic():
        if sunk:
            file_mail(sunk, now)
        expiries = {
            account_id: stored(_expiry(account_id, now)) for account_id in {m.account_id for m in messages}
        }
        at = stored(now)
        pairs = list(zip(_MESSAGES.new_ids(len(messages)), messages, strict=True))
        _MESSAGES.insert(_message(pk, message, at) for pk, message in pairs)
        _CONTENTS.insert((pk, message.data) for pk, message in pairs)
        _RECIPIENTS.insert(
            (
                pk,
                recipient.next_hop_id,
                recipient.address,
                at,
                at,
                expiries[message.account_id],
                recipient.notify,
                recipient.orcpt,
            )
            for pk, message in pairs
            for recipient in message.recipients
        )


def _without_sinks(messages: Sequence[NewMessage]) -> list[NewMessage]:
    """What is left to deliver."""
    rest = [replace(one, recipients=[to for to in one.recipients if not to.sink_id]) for one in messages]
    return [one for one in rest if one.recipients]


_MESSAGES = Table(
    Message,
    "id",
    "account_id",
    "accepted_at",
    "sender",
    "size",
    "taken",
    "smtputf8",
    "body_8bit",
    "ret",
    "envid",
    "client_address",
    "helo",
    "tls",
    "authentic",
    "auth_results",
    "message_id",
    "subject",
    "header_from",
)
_CONTENTS = Table(MessageContent, "message_id", "data", binary=("int8", "bytea"))
_RECIPIENTS = Table(
    Recipient,
    "message_id",
    "next_hop_id",
    "address",
    "accepted_at",
    "next_attempt_at",
    "expires_at",
    "notify",
    "orcpt",
)


def _message(pk: int, new: NewMessage, at: object) -> Row:
    """In the order of the columns of `_MESSAGES`."""
    return (
        pk,
        new.account_id,
        at,
        new.sender,
        len(new.data),
        len(new.recipients),
        new.smtputf8,
        new.body_8bit,
        new.ret,
        new.envid,
        new.client_address,
        new.helo,
        new.tls,
        new.authentic,
        new.auth_results,
        new.message_id,
        new.subject,
        new.header_from,
    )


_HOURS_AND_PAUSES = """
    SELECT (SELECT queue_hours FROM delivery_deliverysettings WHERE account_id = %s),
           EXISTS (SELECT 1 FROM delivery_pause WHERE account_id = %s)
"""


def _expiry(account_id: int, now: datetime) -> datetime:
    """When a message accepted now has waited too long, on the account's running clock."""
    with connection.cursor() as cursor:
        cursor.execute(_HOURS_AND_PAUSES, [account_id, account_id])
        hours, paused = cursor.fetchone()
    if hours is None:
        hours = DeliverySettings._meta.get_field("queue_hours").default
    return (running_now(account_id, now) if paused else now) + timedelta(hours=hours)


def ensure_next_hop(route: Route) -> NextHop:
    """The state row of an inbound route, made when it is missing."""
    return NextHop.objects.get_or_create(route=route, domain="", defaults={"state_since": timezone.now()})[0]
