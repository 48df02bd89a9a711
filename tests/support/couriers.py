"""Mail in the queue and a courier that delivers it, for tests."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from accounts.models import Account, MailDomain
from delivery.courier.process import Courier
from delivery.courier.transaction import Timeouts
from delivery.models import Message, MessageContent, NextHop, Recipient, Route, RouteHost
from tests.support.mailserver import MailServer

QUICK = Timeouts(connect=0.5, command=0.5, data=0.5, block=0.5, end=0.5, idle=0.2, quit=0.2)
_number = itertools.count(1)


def make_account(slug: str = "acme") -> Account:
    account = Account.objects.create(name=slug.title(), slug=slug)
    MailDomain.objects.create(account=account, name=f"{slug}.example", policy=MailDomain.Policy.ALL)
    return account


def make_hop(account: Account, *servers: MailServer, name: str = "mail server", **route: object) -> NextHop:
    """An inbound route to the servers, in this order, with quick canaries, and its next hop."""
    options = {"canary_first_seconds": 0.2, "canary_max_seconds": 0.4} | route
    made = Route.objects.create(account=account, name=name, **options)
    for preference, server in enumerate(servers):
        RouteHost.objects.create(route=made, preference=preference, hostname="127.0.0.1", port=server.port)
    return NextHop.objects.create(route=made, state_since=timezone.now())


def content(message_id: str, body: bytes = b"Hello\r\n") -> bytes:
    return f"Message-ID: <{message_id}>\r\nSubject: test\r\n\r\n".encode() + body


def queue(
    hop: NextHop,
    *addresses: str,
    sender: str = "sender@outside.example",
    data: bytes | None = None,
    at: datetime | None = None,
    hours: float = 96,
    **message: object,
) -> Message:
    """One message in the queue, accepted `at` (now), with its recipients."""
    at = at or timezone.now()
    message_id = f"m{next(_number)}@test"
    data = content(message_id) if data is None else data
    made = Message.objects.create(
        account=hop.route.account,
        accepted_at=at,
        sender=sender,
        size=len(data),
        message_id=f"<{message_id}>",
        **({"client_address": "127.0.0.1"} | message),
    )
    MessageContent.objects.create(message=made, data=data)
    Recipient.objects.bulk_create(
        Recipient(
            message=made,
            next_hop=hop,
            address=address,
            accepted_at=at,
            next_attempt_at=at,
            expires_at=at + timedelta(hours=hours),
        )
        for address in addresses or ["somebody@acme.example"]
    )
    return made


def queue_many(hop: NextHop, count: int, body: bytes = b"Hello\r\n", senders: int = 1) -> list[str]:
    """`count` messages to one recipient each; returns their Message-IDs."""
    now = timezone.now()
    ids = [f"m{next(_number)}@test" for _ in range(count)]
    messages = Message.objects.bulk_create(
        Message(
            account=hop.route.account,
            accepted_at=now,
            sender=f"sender{place % senders}@outside.example",
            size=len(content(message_id, body)),
            client_address="127.0.0.1",
            message_id=f"<{message_id}>",
        )
        for place, message_id in enumerate(ids)
    )
    MessageContent.objects.bulk_create(
        MessageContent(message=message, data=content(message_id, body))
        for message, message_id in zip(messages, ids, strict=True)
    )
    Recipient.objects.bulk_create(
        Recipient(
            message=message,
            next_hop=hop,
            address=f"user{place}@acme.example",
            accepted_at=now,
            next_attempt_at=now,
            expires_at=now + timedelta(hours=96),
        )
        for place, message in enumerate(messages)
    )
    return [f"<{message_id}>" for message_id in ids]


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait for something in the database that a real process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not seen in {seconds} s"
        time.sleep(0.02)


def states(hop: NextHop | None = None) -> dict[str, int]:
    """How many recipients there are in each state."""
    recipients = Recipient.objects.filter(next_hop=hop) if hop else Recipient.objects.all()
    found: dict[str, int] = {}
    for state in recipients.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def all_delivered(hop: NextHop | None = None) -> bool:
    return set(states(hop)) == {"delivered"}


@contextmanager
def running_courier(timeouts: Timeouts = QUICK, directory: Path | None = None) -> Iterator[Courier]:
    """A courier in a thread of this process, with short time-outs."""
    made: list[Courier] = []
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        try:
            made.append(Courier(directory or settings.DATA_DIR, "gateway.example", timeouts))
            loops.append(asyncio.get_running_loop())
        finally:
            ready.set()
        await made[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="courier")
    thread.start()
    ready.wait(10)
    try:
        yield made[0]
    finally:
        loops[0].call_soon_threadsafe(made[0].stop)
        thread.join(10)
        assert not thread.is_alive(), "the courier did not stop"


@contextmanager
def courier_process(
    database_url: str, directory: Path, log: Path, count: int = 1
) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """`manage.py courier`, as often as asked, ended at the end."""
    environment = os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(directory)}
    command = [sys.executable, "manage.py", "courier"]
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as output:
        try:
            processes += [
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
                for _ in range(count)
            ]
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(15)
