"""Rows of a queue, made directly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import Account
from delivery.models import Message, MessageContent, NextHop, Recipient, Route

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


def make_hop(slug: str = "ours", name: str = "Server", domain: str = "", **more: Any) -> NextHop:
    """A next hop of the account of that name, which is made when there is none."""
    account, _ = Account.objects.get_or_create(slug=slug, defaults={"name": slug.title()})
    kind = Route.Kind.OUTBOUND if domain else Route.Kind.INBOUND
    route, _ = Route.objects.get_or_create(account=account, name=name, defaults={"kind": kind})
    hop, _ = NextHop.objects.get_or_create(route=route, domain=domain, defaults={"state_since": NOW, **more})
    return hop


def make_recipient(
    hop: NextHop,
    address: str = "anna@ours.example",
    *,
    minutes: float = 0,
    state: str = "queued",
    sender: str = "max@partner.example",
    subject: str = "",
    message_id: str = "",
    message: Message | None = None,
    **more: Any,
) -> Recipient:
    """A recipient, of a message of its own unless one is given, accepted `minutes` before NOW."""
    at = NOW - timedelta(minutes=minutes)
    if message is None:
        message = Message.objects.create(
            account=hop.route.account,
            accepted_at=at,
            sender=sender,
            size=100,
            client_address="192.0.2.1",
            subject=subject,
            message_id=message_id,
        )
        MessageContent.objects.create(message=message, data=b"Subject: x\r\n\r\nbody")
    final = state in Recipient.FINAL
    values = {
        "next_attempt_at": at,
        "expires_at": at + timedelta(hours=96),
        "final_at": at if final else None,
    }
    return Recipient.objects.create(
        message=message, next_hop=hop, address=address, state=state, accepted_at=at, **(values | more)
    )


def make_many(hop: NextHop, number: int, state: str = "queued") -> list[int]:
    """So many recipients, quickly, a second apart; their primary keys, the oldest first."""
    times = [NOW - timedelta(seconds=number - n) for n in range(number)]
    messages = Message.objects.bulk_create(
        Message(account=hop.route.account, accepted_at=at, size=1, client_address="192.0.2.1") for at in times
    )
    rows = Recipient.objects.bulk_create(
        Recipient(
            message=message,
            next_hop=hop,
            address=f"user{n}@ours.example",
            state=state,
            accepted_at=message.accepted_at,
            next_attempt_at=message.accepted_at,
            expires_at=message.accepted_at + timedelta(hours=96),
        )
        for n, message in enumerate(messages)
    )
    return [row.pk for row in rows]
