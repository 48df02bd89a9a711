"""The story of the product on a real mail server: it dies under load, and every message arrives."""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from delivery.models import Attempt, Message, MessageContent, NextHop, Recipient
from delivery.reads import queue_figures, reconcile_account
from events.models import ContinuityEvent
from monitoring.models import Outage
from notifications.models import Notification
from tests.scenarios.mail import Letter, Senders, odd_letters, plain_letters
from tests.scenarios.world import (
    ADDRESSES,
    CONTACTS,
    UTF8_ADDRESS,
    Installation,
    Phone,
    World,
    installation,
    organisation,
)
from tests.support import postfix
from tests.support.mailserver import MailServer
from tests.support.processes import ROOT, wait_until

pytestmark = [
    pytest.mark.skipif(not postfix.available(), reason="needs Postfix, Dovecot and root"),
    pytest.mark.django_db(transaction=True),
]

UP, LOAD, DOWN = 400, 100, 500
BY_TOOLS = 50  # of those while it is up, and of those while it is down
TOOLS_SENDER = "tools@load.example"


@pytest.fixture
def server() -> Iterator[postfix.MailServer]:
    with postfix.mail_server([*ADDRESSES, UTF8_ADDRESS]) as server:
        yield server


@pytest.fixture
def relay() -> Iterator[MailServer]:
    """The relay for alert mail: not the monitored server."""
    with MailServer() as relay:
        yield relay


@pytest.fixture
def world(database_url: str, server: postfix.MailServer) -> World:
    return organisation(server.port)


@pytest.fixture
def site(world: World, relay: MailServer, database_url: str, tmp_path: Path) -> Iterator[Installation]:
    relay_url = f"smtp://127.0.0.1:{relay.port}"
    with installation(tmp_path / "data", database_url, ALERT_EMAIL_URL=relay_url) as site:
        yield site


def test_it_dies_under_load_and_every_message_arrives_once(
    site: Installation, server: postfix.MailServer, relay: MailServer, world: World
) -> None:
    senders = Senders(site.smtp_port)

    # A good day: nobody notices the gateway.
    senders.send(plain_letters("first", ADDRESSES, 20))
    wait_until(lambda: world.next_hop().offered_smtputf8, "the gateway knows that the server takes UTF-8")
    odd = odd_letters("up", ADDRESSES, UTF8_ADDRESS)
    senders.send([*odd, *plain_letters("up", ADDRESSES, UP - BY_TOOLS - 20 - len(odd))])
    send_by_tools(site)
    wait_until(lambda: waiting(world) == 0, "the good day's mail is delivered", 30)
    assert world.state() == "up"
    assert not relay.messages

    # It dies under load.
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(senders.send, plain_letters("load", ADDRESSES, LOAD))
        wait_until(lambda: len(senders.accepted) > UP - BY_TOOLS + 20, "the load is on")
        server.stop()
        load.result(30)
    odd_down = odd_letters("down", ADDRESSES, UTF8_ADDRESS)
    senders.send([*odd_down, *plain_letters("down", ADDRESSES, DOWN - BY_TOOLS - len(odd_down))])
    send_by_tools(site)
    assert not senders.refused
    assert Message.objects.count() == UP + LOAD + DOWN
    wait_until(lambda: world.state() == "down", "the route is down")
    stored_when_down = server.stored()

    # Somebody is told, and presses a button on a phone.
    wait_until(lambda: Outage.objects.filter(closed_at=None).exists(), "the outage opens", 20)
    links = {address: link_in(relay, address) for address in CONTACTS.values()}
    assert len(set(links.values())) == len(CONTACTS), "each contact has a link of their own"
    phone = Phone(links[CONTACTS["Maria"]])
    assert "Inactive" in phone.text()
    text = phone.press("activate", hours="4")
    assert "Continuity mode activated" in text
    assert "Active until" in text
    event = ContinuityEvent.objects.get()
    assert (event.state, event.began, event.began_by) == ("active", "link", "Maria")
    queue = queue_figures(world.account.pk)
    assert queue.queued >= DOWN
    assert server.stored() == stored_when_down

    # It comes back, and everybody with it.
    server.start()
    wait_until(lambda: waiting(world) == 0, "the queue is drained", 60)
    wait_until(lambda: not server.queued(), "Postfix has put everything into mailboxes", 30)
    wait_until(lambda: world.state() == "up", "the route is up again", 30)
    wait_until(lambda: not Outage.objects.filter(closed_at=None).exists(), "the outage closes", 30)

    balance = reconcile_account(world.account.pk)
    assert balance.accepted == balance.delivered == Recipient.objects.count()
    assert (balance.bounced, balance.rejected, balance.waiting) == (0, 0, 0)
    check_mailboxes(server, senders.accepted, 2 * BY_TOOLS)
    check_stored_bytes([*odd, *odd_down])
    check_what_was_told(relay)
    assert not site.problems(), site.problems()


def waiting(world: World) -> int:
    return Recipient.objects.waiting().filter(next_hop__route=world.route).count()


def send_by_tools(site: Installation) -> None:
    """Postfix's load generator with several sessions, and swaks: each has its own idea of a message."""
    to = f"127.0.0.1:{site.smtp_port}"
    source = ["/usr/sbin/smtp-source", "-s", "5", "-m", str(BY_TOOLS - 1), "-l", "3000"]
    swaks = ["swaks", "--server", to, "--from", TOOLS_SENDER, "--to", ADDRESSES[1]]
    swaks += ["--attach", "@manage.py", "--header-X-Made-By", "swaks"]
    for command in ([*source, "-f", TOOLS_SENDER, "-t", ADDRESSES[0], to], swaks):
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, cwd=ROOT
        )
        assert run.returncode == 0, run.stdout + run.stderr


def link_in(relay: MailServer, address: str) -> str:
    """The link in the alert to that address, as its text part shows it."""
    wait_until(lambda: [m for m in relay.messages if address in m.recipients], f"{address} is told", 20)
    (alert,) = [message for message in relay.messages if address in message.recipients]
    body = alert.data.replace(b"=\r\n", b"").replace(b"=3D", b"=").decode()
    link = re.search(r"http://127\.0\.0\.1:\d+/m/[^/\s\"<>]+/", body)
    assert link, body
    return link[0]


def check_mailboxes(server: postfix.MailServer, letters: Iterable[Letter], from_tools: int) -> None:
    """Every message is in each of its mailboxes, byte for byte, and once.

    Twice is allowed in two cases only, which no sender can avoid (RFC 5321 6.1): Postfix was stopped
    between storing a message and answering; or while putting it into the mailbox (same queue id).
    """
    found: dict[tuple[str, str], list[postfix.Delivered]] = defaultdict(list)
    seen = set()
    by_tools = Counter[str]()
    for message in server.messages():
        if (message.address, message.queue_id) in seen:
            continue
        seen.add((message.address, message.queue_id))
        if f"Return-Path: <{TOOLS_SENDER}>".encode() in message.content:
            by_tools[message.message_id] += 1
        else:
            found[message.address, message.message_id].append(message)
    unanswered = set(
        Attempt.objects.filter(result="host_failure", stage="end").values_list(
            "recipient__address", "recipient__message__message_id"
        )
    )
    for letter in letters:
        for address in letter.recipients:
            copies = found.pop((address, letter.message_id), [])
            assert copies, f"{letter.message_id} ({letter.kind}) is not in the mailbox of {address}"
            once = len(copies) == 1 or (address, letter.message_id) in unanswered
            assert once, f"{letter.message_id} is {len(copies)} times in the mailbox of {address}"
            for copy in copies:
                assert copy.content.endswith(letter.in_mailbox), f"{letter.kind} was changed on its way"
                check_front(copy.content[: -len(letter.in_mailbox)])
    assert not found, "mail that nobody sent"
    assert len(by_tools) == from_tools
    assert set(by_tools.values()) == {1}


def check_front(front: bytes) -> None:
    """Nothing stands before a message but what the servers add."""
    names = set(re.findall(rb"(?m)^([^\s:]+):", front))
    assert names <= {
        b"Return-Path",
        b"X-Original-To",
        b"Delivered-To",
        b"Received",
        b"Authentication-Results",
    }
    assert front.count(b"\nReceived:") == 2, front


def check_stored_bytes(letters: Iterable[Letter]) -> None:
    """The gateway kept the odd ones as they came, with its own lines in front."""
    for letter in letters:
        data = bytes(MessageContent.objects.get(message__message_id=letter.message_id).data)
        assert data.endswith(letter.settled), f"{letter.kind} was changed by the gateway"
        assert data.startswith(b"Received: "), data[:200]


def check_what_was_told(relay: MailServer) -> None:
    """To each an alert, a recovery notice and the end of the queue; to Tom what Maria did. Nothing else."""
    wait_until(lambda: len(relay.messages) >= 7, "everybody is told of the recovery", 20)
    wait_until(lambda: not Notification.objects.exclude(state="sent").exists(), "the outbox is empty", 10)
    told = Counter(Notification.objects.values_list("contact__name", "kind"))
    assert told == Counter(
        [
            ("Maria", "outage"),
            ("Tom", "outage"),
            ("Tom", "action"),
            ("Maria", "recovery"),
            ("Tom", "recovery"),
            ("Maria", "drained"),
            ("Tom", "drained"),
        ]
    )
    assert Counter(address for message in relay.messages for address in message.recipients) == {
        CONTACTS["Maria"]: 3,
        CONTACTS["Tom"]: 4,
    }
    assert NextHop.objects.get().state == "up"
