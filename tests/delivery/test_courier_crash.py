"""The real courier process is killed, stopped and multiplied; no message is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from delivery.models import NextHop, Recipient
from tests.support.couriers import (
    all_delivered,
    courier_process,
    eventually,
    make_account,
    make_hop,
    queue_many,
    states,
)
from tests.support.mailserver import HANG, MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hop(server: MailServer) -> NextHop:
    return make_hop(make_account(), server, max_connections=4)


def test_killed_in_the_middle_of_everything_nothing_is_lost(
    server: MailServer, hop: NextHop, database_url: str, tmp_path: Path
) -> None:
    """Some hang in DATA, some have been taken by the server, whose 250 never comes."""
    server.reply("body", HANG, times=2)
    server.reply("end", HANG, times=2, keep=True)
    ids = queue_many(hop, 80, body=b"x" * 5000 + b"\r\n")
    with courier_process(database_url, tmp_path, tmp_path / "log") as (first,):
        server.wait_until(lambda: server.open_sessions >= 4 and len(server.messages) >= 2, 20)
        eventually(lambda: states().get("sending", 0) >= 4, "in flight")
        first.kill()
        first.wait(10)
    in_flight = {message.header("Message-ID") for message in server.messages}
    server.behave()
    started = time.monotonic()
    with courier_process(database_url, tmp_path, tmp_path / "log") as (second,):
        eventually(all_delivered, "all delivered", 20)
        assert second.poll() is None
    assert time.monotonic() - started < 15, "a restarted courier waits for no lease"
    arrived = server.count_by_message_id()
    assert set(arrived) == set(ids)
    assert {message_id for message_id, count in arrived.items() if count > 1} <= in_flight
    assert max(arrived.values()) <= 2


def test_several_couriers_share_the_work_and_send_nothing_twice(
    server: MailServer, hop: NextHop, database_url: str, tmp_path: Path
) -> None:
    ids = queue_many(hop, 200)
    with courier_process(database_url, tmp_path, tmp_path / "log", count=2) as both:
        eventually(all_delivered, "all delivered", 30)
        assert [process.poll() for process in both] == [None, None]
    assert server.count_by_message_id() == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_five_seconds_and_holds_nothing(
    server: MailServer, hop: NextHop, database_url: str, tmp_path: Path, number: int
) -> None:
    server.reply("end", HANG)
    queue_many(hop, 30)
    with courier_process(database_url, tmp_path, tmp_path / "log") as (process,):
        eventually(lambda: states().get("sending", 0) >= 4, "in flight", 20)
        server.wait_until(lambda: server.open_sessions == 4)
        started = time.monotonic()
        os.kill(process.pid, number)
        assert process.wait(10) == 0
        # Five, and what a busy machine takes to end a process.
        assert time.monotonic() - started < 8
    assert states() == {"queued": 30}
    assert not Recipient.objects.exclude(claimed_by="").exists()
    assert not (tmp_path / "courier.sock").exists()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
