"""MAIL, RCPT and DATA in one group (RFC 2920): each reply belongs to its command, or to nothing at all."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from delivery.courier.sent import Sent
from delivery.courier.transaction import Offers, Transaction
from delivery.courier.wire import Wire
from delivery.models import Attempt, Route, RouteHost
from delivery.services import ensure_next_hop
from delivery.services.claims import Addressee, Envelope
from tests.support.couriers import (
    QUICK,
    all_delivered,
    eventually,
    make_account,
    queue_many,
    running_courier,
)

CONTENT = b"Subject: x\r\n\r\n.Hello\r\n"
IMPATIENT = replace(QUICK, command=0.1, data=0.1, end=0.1)
GROUP = b"MAIL FROM:<s@outside.example>\r\nRCPT TO:<a@acme.example>\r\nRCPT TO:<b@acme.example>\r\nDATA\r\n"
SENT = b"Subject: x\r\n\r\n..Hello\r\n.\r\n"


@dataclass
class Script:
    """A server that says nothing until the whole group has come, then `group`, and later one reply a turn."""

    group: bytes
    later: list[bytes] = field(default_factory=list)
    hang_up: bool = False
    crumbs: bool = False  # a byte at a time
    heard: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heard = await reader.readuntil(b"DATA\r\n")
            await self.say(writer, self.group)
            while not self.hang_up and (part := await reader.read(1000)):
                self.heard += part
                if self.later:
                    await self.say(writer, self.later.pop(0))
        finally:
            writer.close()

    async def say(self, writer: asyncio.StreamWriter, words: bytes) -> None:
        for part in [words[n : n + 1] for n in range(len(words))] if self.crumbs else [words]:
            writer.write(part)
            await asyncio.sleep(0)


def talk(script: Script) -> tuple[Sent, bool]:
    """One transaction for two recipients; what it came to, and whether another may follow."""
    envelope = Envelope(
        hop_id=0,
        message_id=0,
        sender="s@outside.example",
        size=len(CONTENT),
        smtputf8=False,
        body_8bit=False,
        ret="",
        envid="",
        content=CONTENT,
        recipients=(Addressee(1, "a@acme.example", "", ""), Addressee(2, "b@acme.example", "", "")),
    )

    async def main() -> tuple[Sent, bool]:
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
        wire = Wire(transport)
        transaction = Transaction(wire, Offers(pipelining=True), IMPATIENT, envelope, CONTENT)
        await transaction.run()
        usable = wire.usable
        wire.close()
        server.close()
        await asyncio.sleep(0.01)
        return transaction.sent, usable

    return asyncio.run(main())


def results(sent: Sent) -> list[tuple[str, str, int | None]]:
    return [(outcome.verdict.value, outcome.stage, outcome.code) for outcome in sent.outcomes]


BOTH = ["250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.1.5 Ok", "354 Go on"]
DELIVERED = [("delivered", "end", 250)] * 2
NOTHING_SAID = [("host_failure", "rcpt", None)] * 2


def said(*replies: str) -> bytes:
    return b"".join(reply.encode() + b"\r\n" for reply in replies)


@pytest.mark.parametrize("crumbs", [False, True], ids=["at once", "byte by byte"])
def test_the_commands_go_in_one_group_and_the_content_after_354(crumbs: bool) -> None:
    script = Script(
        said("250-2.1.0 Well\r\n250 2.1.0 Ok", *BOTH[1:]), [said("250 2.0.0 Taken")], crumbs=crumbs
    )
    sent, usable = talk(script)
    assert (results(sent), usable) == (DELIVERED, True)
    assert script.heard == GROUP + SENT


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (("550 5.1.1 Who?", "250 2.1.5 Ok"), [("refused", "rcpt", 550), ("delivered", "end", 250)]),
        (("250 2.1.5 Ok", "450 4.2.1 Full"), [("deferred", "rcpt", 450), ("delivered", "end", 250)]),
        (("250 2.1.5 Ok", "452 4.5.3 Too many"), [("delivered", "end", 250)]),
    ],
)
def test_each_recipient_has_its_own_reply(
    replies: tuple[str, str], expected: list[tuple[str, str, int | None]]
) -> None:
    script = Script(said(BOTH[0], *replies, BOTH[3]), [said("250 2.0.0 Taken")])
    sent, usable = talk(script)
    assert (results(sent), usable) == (expected, True)
    assert sent.released == ([2] if len(expected) == 1 else [])
    assert script.heard == GROUP + SENT


@pytest.mark.parametrize("end", ["250 2.0.0 Taken", "554 5.5.1 No valid recipients"])
@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (("250 Ok", "550 5.1.1 Who?", "550 5.1.1 Who?"), [("refused", "rcpt", 550)] * 2),
        (("450 4.7.1 Not from you", "503 MAIL first", "503 MAIL first"), [("host_failure", "mail", 450)] * 2),
        (("550 5.7.1 Not from you", "503 MAIL first", "503 MAIL first"), [("deferred", "mail", 550)] * 2),
    ],
)
def test_a_354_that_is_for_nobody_is_answered_by_a_lone_dot(
    replies: tuple[str, ...], expected: list[tuple[str, str, int | None]], end: str
) -> None:
    """RFC 2920 3.1: that no recipient was accepted does not mean that DATA is refused."""
    script = Script(said(*replies, "354 Go on"), [said(end), said("250 Reset")])
    sent, usable = talk(script)
    assert (results(sent), usable) == (expected, True)
    assert script.heard == GROUP + b".\r\nRSET\r\n"
    assert not sent.all_sent


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (("250 Ok", "550 5.1.1 Who?", "550 5.1.1 Who?", "503 RCPT first"), [("refused", "rcpt", 550)] * 2),
        (("250 Ok", "250 Ok", "250 Ok", "554 5.7.1 Spam"), [("refused", "data", 554)] * 2),
        (("250 Ok", "250 Ok", "250 Ok", "451 4.3.0 Later"), [("host_failure", "data", 451)] * 2),
    ],
)
def test_without_a_354_the_transaction_is_reset(
    replies: tuple[str, ...], expected: list[tuple[str, str, int | None]]
) -> None:
    script = Script(said(*replies), [said("250 Reset")])
    sent, usable = talk(script)
    assert (results(sent), usable) == (expected, True)
    assert script.heard == GROUP + b"RSET\r\n"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (Script(said("421 4.3.2 Bye"), hang_up=True), [("host_failure", "mail", 421)] * 2),
        (Script(said("250 Ok", "421 4.3.2 Bye"), hang_up=True), [("host_failure", "rcpt", 421)] * 2),
        (Script(said("250 Ok", "250 Ok", "421 4.3.2 Bye", "354 Go on")), [("host_failure", "rcpt", 421)] * 2),
        (Script(said(*BOTH[:3], "421 4.3.2 Bye"), hang_up=True), [("host_failure", "data", 421)] * 2),
    ],
)
def test_after_a_421_amid_the_group_nothing_more_is_said(
    script: Script, expected: list[tuple[str, str, int | None]]
) -> None:
    sent, usable = talk(script)
    assert (results(sent), usable) == (expected, False)
    assert script.heard == GROUP
    assert not sent.lost_count


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (Script(said("250 Ok"), hang_up=True), NOTHING_SAID),
        (Script(said("250 Ok")), NOTHING_SAID),
        (Script(b""), [("host_failure", "mail", None)] * 2),
        (Script(said("250 Ok", "what?")), NOTHING_SAID),
        (Script(said("250 Ok", "354 Go on")), [("host_failure", "rcpt", 354)] * 2),
        (Script(said("250 Ok", *BOTH)), [("host_failure", "data", None)] * 2),
        (Script(said(*BOTH, "250 And more")), [("host_failure", "data", None)] * 2),
        (Script(said(*BOTH[:3], "550 5.1.1 Who?", "354 Go on")), [("host_failure", "data", None)] * 2),
    ],
    ids=["cut off", "silent", "silent from the start", "garbage", "too few", "too many", "more", "shifted"],
)
def test_replies_out_of_step_deliver_and_refuse_nothing(
    script: Script, expected: list[tuple[str, str, int | None]]
) -> None:
    sent, usable = talk(script)
    assert (results(sent), usable) == (expected, False)
    assert script.heard == GROUP, "no content is sent"
    assert sent.lost_count, "the next time they go one by one"


# --- A server that forgets what comes behind the first command -------------------------------------------


@pytest.fixture
def forgetful() -> Iterator[tuple[int, list[bytes]]]:
    """It offers PIPELINING; its port, and the contents that it took."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def converse(client: socket.socket) -> None:
        client.sendall(b"220 forgetful.example ESMTP\r\n")
        while command := client.recv(65536):
            verb = command[:4].upper()
            if verb == b"DATA":
                client.sendall(b"354 Go on\r\n")
                content = b""
                while not content.endswith(b"\r\n.\r\n"):
                    content += client.recv(65536)
                taken.append(content)
            client.sendall(b"250-Hello\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 Ok\r\n")
            if verb == b"QUIT":
                return

    def listen() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                converse(client)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield listener.getsockname()[1], taken
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.mark.django_db(transaction=True)
def test_a_server_that_cannot_take_groups_gets_commands_one_by_one(
    forgetful: tuple[int, list[bytes]],
) -> None:
    port, taken = forgetful
    route = Route.objects.create(
        account=make_account(), name="forgetful", canary_first_seconds=0.2, max_connections=1
    )
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=port)
    queue_many(ensure_next_hop(route), 5)
    with running_courier():
        eventually(all_delivered, "delivered")
    assert len(taken) == 5
    assert Attempt.objects.filter(result="host_failure").count() == 1
