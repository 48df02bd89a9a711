"""Accepting mail: what the gateway took becomes rows, many messages in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from delivery.models import DeliverySettings, Message, MessageContent, NextHop, Recipient, Route
from delivery.reads import running_now


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One RCPT. `notify` and `orcpt` are as the client gave them (RFC 3461)."""

    address: str
    next_hop_id: int
    notify: str = ""
    orcpt: str = ""


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
    message_id: str = ""
    subject: str = ""
    header_from: str = ""


def accept(messages: Sequence[NewMessage], *, now: datetime | None = None) -> None:
    """Store the whole batch in one transaction: when this returns, all of it is committed.

    Whatever the database raises passes through, and then nothing of the batch is stored.
    """
    now = now or timezone.now()
    with transaction.atomic():
        expiries = {account_id: _expiry(account_id, now) for account_id in {m.account_id for m in messages}}
        rows = Message.objects.bulk_create(_message(message, now) for message in messages)
        _store_contents([(row.pk, new.data) for row, new in zip(rows, messages, strict=True)])
        Recipient.objects.bulk_create(
            Recipient(
                message=row,
                next_hop_id=recipient.next_hop_id,
                address=recipient.address,
                accepted_at=now,
                next_attempt_at=now,
                expires_at=expiries[new.account_id],
                notify=recipient.notify,
                orcpt=recipient.orcpt,
            )
            for row, new in zip(rows, messages, strict=True)
            for recipient in new.recipients
        )


def _message(new: NewMessage, now: datetime) -> Message:
    return Message(
        account_id=new.account_id,
        accepted_at=now,
        sender=new.sender,
        size=len(new.data),
        smtputf8=new.smtputf8,
        body_8bit=new.body_8bit,
        ret=new.ret,
        envid=new.envid,
        authentic=new.authentic,
        client_address=new.client_address,
        helo=new.helo,
        tls=new.tls,
        message_id=new.message_id,
        subject=new.subject,
        header_from=new.header_from,
    )


def _store_contents(contents: Sequence[tuple[int, bytes | bytearray]]) -> None:
    if connection.vendor != "postgresql":
        MessageContent.objects.bulk_create(MessageContent(message_id=pk, data=data) for pk, data in contents)
        return
    # Django would write the bytes into the statement as hexadecimal text, twice their size and more than
    # once in memory; bound by the server they travel as they are, all rows in one round trip.
    from psycopg import Cursor

    connection.ensure_connection()
    with Cursor(connection.connection) as cursor:
        cursor.executemany("INSERT INTO delivery_messagecontent (message_id, data) VALUES (%s, %b)", contents)


def _expiry(account_id: int, now: datetime) -> datetime:
    """When a message accepted now has waited too long, on the account's running clock."""
    hours = (
        DeliverySettings.objects.filter(account_id=account_id).values_list("queue_hours", flat=True).first()
    )
    if hours is None:
        hours = DeliverySettings._meta.get_field("queue_hours").default
    return running_now(account_id, now) + timedelta(hours=hours)


def ensure_next_hop(route: Route) -> NextHop:
    """The state row of an inbound route, made when it is missing."""
    return NextHop.objects.get_or_create(route=route, domain="", defaults={"state_since": timezone.now()})[0]
