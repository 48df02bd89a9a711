"""250 means committed: under failing commits, SIGTERM and SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from delivery.models import Message, MessageContent, NextHop, Recipient, Route
from delivery.services import ensure_next_hop
from tests.support.gateway import Client, RunningGateway, account, gateway, stored
from tests.support.processes import Process, Processes, free_port, listens, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def committing(server: RunningGateway) -> int:
    """How many sessions wait for their commit."""
    return sum(session._committing for session in list(server.gateway.sessions))


@contextlib.contextmanager
def locked_store() -> Iterator[None]:
    """Somebody else holds what an insert of a message needs, for as long as the block lasts."""
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
    else:
        import psycopg

        settings = connection.get_connection_params()
        keys = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{key: settings[key] for key in keys if settings.get(key)}) as other_connection:
            other_connection.execute("LOCK TABLE delivery_message IN ACCESS EXCLUSIVE MODE")
            yield
            other_connection.rollback()


def test_what_waits_during_a_commit_shares_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    account()
    with gateway() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(20)]
        for client in clients:
            for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
                client.ask(command)
        with locked_store():
            for number, client in enumerate(clients):
                client.send(b"%d\r\n.\r\n" % number)
            clients[0].socket.settimeout(0.3)
            with pytest.raises(TimeoutError):  # no 250 before the commit
                clients[0].reply()
            clients[0].socket.settimeout(10)
        for client in clients:
            assert client.reply().startswith("250 2.0.0")
    assert sorted(stored()) == sorted(b"%d\r\n" % number for number in range(20))
    assert len(set(Message.objects.values_list("accepted_at", flat=True))) < 20


def test_a_client_that_waits_for_a_slow_store_is_not_idle() -> None:
    account()
    with gateway(idle=1) as server, Client(server.port) as client:
        for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
            client.ask(command)
        with locked_store():
            client.send(b"x\r\n.\r\n")
            client.socket.settimeout(1.5)
            with pytest.raises(TimeoutError):
                client.reply()
        client.socket.settimeout(10)
        assert client.reply().startswith("250")


def test_a_commit_that_fails_is_answered_451_and_stores_nothing() -> None:
    account()
    with gateway() as server, Client(server.port) as client:
        for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
            client.ask(command)
        NextHop.objects.all().delete()  # the route is taken away between RCPT and the end of data
        client.send(b"x\r\n.\r\n")
        assert client.reply().startswith("451 4.3.0")
        assert not Message.objects.exists()
        assert not MessageContent.objects.exists()

        ensure_next_hop(Route.objects.get())
        assert client.mail(b"x\r\n.\r\n").startswith("250")
    assert Message.objects.count() == Recipient.objects.count() == 1


def test_a_poisonous_message_fails_alone() -> None:
    one, two = account("one"), account("two")
    with gateway() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(6)]
        for number, client in enumerate(clients):
            client.ask("MAIL FROM:<b@else.example>")
            client.ask(f"RCPT TO:<anna@{'two' if number == 3 else 'one'}.example>")
            client.ask("DATA")
        NextHop.objects.filter(route__account=two).delete()
        with locked_store():  # so that they come in one batch
            for client in clients:
                client.send(b"x\r\n.\r\n")
            wait_until(lambda: committing(server) == 6, "all wait for their commit")
        answers = [client.reply()[:9] for client in clients]
    assert answers == ["250 2.0.0"] * 3 + ["451 4.3.0"] + ["250 2.0.0"] * 2
    assert Message.objects.filter(account=one).count() == 5
    assert not Message.objects.filter(account=two).exists()


def test_a_store_that_is_away_is_answered_451_until_it_is_back() -> None:
    account()
    with gateway() as server, Client(server.port) as client:
        assert client.mail(b"before\r\n.\r\n").startswith("250")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE delivery_messagecontent RENAME TO away")
        try:
            assert client.mail(b"away\r\n.\r\n").startswith("451 4.3.0")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE away RENAME TO delivery_messagecontent")
        if connection.vendor == "postgresql":  # as after a restart of the server
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        assert client.mail(b"after\r\n.\r\n").startswith("250")
    assert stored() == [b"before\r\n", b"after\r\n"]


def test_recipients_that_cannot_be_looked_up_are_asked_to_wait() -> None:
    account()
    with gateway() as server:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_person RENAME TO away")
        try:
            with Client(server.port) as client:  # greeted all the same
                client.ask("MAIL FROM:<b@else.example>")
                assert client.ask("RCPT TO:<anna@one.example>").startswith("451 4.3.0")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE away RENAME TO accounts_person")
        with Client(server.port) as client:
            assert client.mail(b"x\r\n.\r\n").startswith("250")


def test_stopping_finishes_what_is_in_commit_and_turns_away_the_rest() -> None:
    account()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(gateway())
        idle, half, whole = (stack.enter_context(Client(server.port)) for _ in range(3))
        for client in (half, whole):
            for command in ("MAIL FROM:<b@else.example>", "RCPT TO:<anna@one.example>", "DATA"):
                client.ask(command)
        half.send(b"half\r\n")
        with locked_store():
            whole.send(b"whole\r\n.\r\n")
            wait_until(lambda: committing(server) == 1, "it is in commit")
            server.begin_stop()
            assert idle.reply().startswith("421 4.3.2")
            assert half.reply().startswith("421 4.3.2")
            wait_until(lambda: not listens(server.port), "nobody new is let in")
        assert whole.reply().startswith("250 2.0.0")
        assert whole.reply().startswith("421 4.3.2")
        assert whole.reply() == ""
    assert stored() == [b"whole\r\n"]


@pytest.mark.parametrize("deep", ["", "d" * 120])
def test_the_courier_is_nudged_after_a_commit(tmp_path: Path, settings: object, deep: str) -> None:
    directory = tmp_path / deep
    directory.mkdir(exist_ok=True)
    settings.DATA_DIR = directory  # type: ignore[attr-defined]
    account()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as courier:
        here = os.open(directory, os.O_PATH)
        courier.bind(f"/proc/self/fd/{here}/courier.sock")
        os.close(here)
        courier.settimeout(10)
        with gateway() as server, Client(server.port) as client:
            assert client.mail(b"x\r\n.\r\n").startswith("250")
            assert courier.recv(100) == b""


# --- The process itself -----------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path, database_url: str) -> Iterator[tuple[Process, int]]:
    account()
    port = free_port()
    with Processes(tmp_path, DATABASE_URL=database_url, SMTP_PORT=str(port)) as processes:
        started = processes.manage("gateway", "gateway")
        wait_until(lambda: listens(port) or not started.alive, "the gateway listens")
        assert started.alive, started.log()
        yield started, port


def test_every_250_before_a_sigkill_is_in_the_database(process: tuple[Process, int]) -> None:
    running, port = process
    accepted: list[str] = []
    enough = threading.Event()

    def send(number: int) -> None:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=10)
            for count in range(10_000):
                message_id = f"<{number}.{count}@else.example>"
                body = f"Message-ID: {message_id}\r\n\r\n{'x' * 2000}\r\n"
                client.sendmail("b@else.example", ["anna@one.example"], body)
                accepted.append(message_id)
                if len(accepted) > 500:
                    enough.set()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    assert enough.wait(20)
    os.kill(running.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(15)

    there = set(Message.objects.values_list("message_id", flat=True))
    assert set(accepted) <= there
    for model in (Message, MessageContent, Recipient):
        assert model.objects.count() == len(there)
    assert len(there) - len(accepted) <= 50  # in flight at most


def test_it_says_when_it_is_ready_and_stops_on_sigterm(process: tuple[Process, int]) -> None:
    running, port = process
    assert f"gateway ready on 127.0.0.1 port {port}" in running.log()
    with Client(port) as client:
        assert client.mail(b"Subject: secret\r\n\r\nsecret\r\n.\r\n").startswith("250")
        assert running.stop() < 5
        assert client.reply().startswith("421 4.3.2")
    assert "secret" not in running.log()
    assert "Traceback" not in running.log()


def test_two_gateways_share_one_port(process: tuple[Process, int], tmp_path: Path, database_url: str) -> None:
    running, port = process
    with Processes(tmp_path / "two", DATABASE_URL=database_url, SMTP_PORT=str(port)) as others:
        second = others.manage("gateway", "gateway")
        wait_until(lambda: "ready" in second.log() or not second.alive, "the second is ready")
        assert second.alive, second.log()
        running.stop()
        with Client(port) as client:
            assert client.mail(b"x\r\n.\r\n").startswith("250")
