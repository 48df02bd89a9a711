"""Mail that was given up, and what arrived because of it."""

from __future__ import annotations

import email

from accounts.models import Account
from delivery.models import Message, NextHop, Recipient, Route, RouteHost
from tests.support.couriers import (
    eventually,
    queue,
    running_courier,
)
from tests.support.mailserver import MailServer, Received


def outbound(account: Account, *servers: MailServer) -> Route:
    route = Route.objects.create(account=account, name="out", kind=Route.Kind.OUTBOUND)
    for server in servers:
        RouteHost.objects.create(route=route, hostname="127.0.0.1", port=server.port)
    return route


def given_up(hop: NextHop, *addresses: str, reply: str = "550 5.1.1 No", **message: object) -> Message:
    """A message whose recipients were given up."""
    made = queue(hop, *addresses, **({"authentic": True} | message))  # type: ignore[arg-type]
    made.recipients.update(state=Recipient.State.EXPIRED, last_reply=reply)
    return made


def refused(server: MailServer, hop: NextHop, message: Message) -> None:
    """Let the mail server refuse it for good, by a real courier."""
    server.reply("rcpt", "550 5.1.1 No such user", to="ghost@")
    with running_courier():
        eventually(lambda: not message.recipients.filter(state="queued").exists(), "tried")
        eventually(lambda: not message.recipients.filter(state="sending").exists(), "answered")


def arrived(smart_host: MailServer, count: int = 1) -> list[Received]:
    with running_courier():
        return smart_host.wait_for(count)


def field(received: Received, name: str) -> list[str]:
    """The values of a field in the status part of a report."""
    message = email.message_from_bytes(received.data)
    return [str(part[name]) for part in message.walk() if part[name] is not None]


def final(message: Message) -> dict[str, str]:
    return dict(message.recipients.values_list("address", "state"))
