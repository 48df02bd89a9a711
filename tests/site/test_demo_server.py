"""The demo mail server as a real process: it takes mail durably, and breaks in the ways it is told."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import Settings

from continuity_site.demo import control
from continuity_site.demo.store import Mailbox, Received, read_index
from tests.support.processes import Process, Processes, free_port, listens, wait_until

BODY = b"Message-ID: <one@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def processes(tmp_path: Path, settings: Settings, port: int) -> Iterator[Processes]:
    settings.DATA_DIR = tmp_path
    with Processes(tmp_path, DEMO_SMTP_PORT=str(port)) as processes:
        yield processes


@pytest.fixture
def server(processes: Processes, port: int) -> Process:
    return start(processes, port)


def start(processes: Processes, port: int) -> Process:
    server = processes.start("demo", sys.executable, "-m", "continuity_site.demo.server")
    wait_until(lambda: listens(port), "the demo server listens")
    return server


def client(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, timeout=10)


def send(port: int, data: bytes = BODY, to: tuple[str, ...] = ("ann@example.com",)) -> None:
    with client(port) as smtp:
        smtp.sendmail("sender@example.org", list(to), data)


def _now() -> datetime:
    return datetime.now(UTC)


def stored(tmp_path: Path, number: int) -> bytes:
    return (tmp_path / "demo" / "mail" / f"{number}.eml").read_bytes()


def test_it_takes_mail_and_says_what_it_took(server: Process, port: int) -> None:
    send(port, to=("ann@example.com", "bob@example.com"))
    (message,) = control.received(10)
    assert message.sender == "sender@example.org"
    assert message.recipients == ("ann@example.com", "bob@example.com")
    assert message.subject == "Grüße"
    assert message.message_id == "<one@example.org>"
    assert message.size == len(BODY)
    assert message.at.tzinfo is not None
    assert control.count() == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b".\r\n..\r\n.a\r\nb.\r\n", id="dots"),
        pytest.param(b"Subject: \xff\xfe\r\n\r\n\x80\x00\x01\r\n", id="8 bit without MIME"),
        pytest.param(b"X: " + b"long " * 200_000 + b"\r\n", id="a line of 1 MB"),
        pytest.param(b"no header at all\r\n", id="no header"),
        pytest.param(b"Subject: =?no-such-charset?q?=FF?=\r\n\r\n", id="unknown charset"),
        pytest.param(b"Subject: a\r\n b\r\n\tc\r\nMessage-ID:\r\n <x>\r\n\r\n", id="folded"),
        pytest.param(b"a\nb\rc\r\n.\nd\r\n", id="bare LF and CR"),
    ],
)
def test_what_it_keeps_is_what_came_byte_for_byte(
    server: Process, port: int, tmp_path: Path, data: bytes
) -> None:
    stuffed = (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:]
    with client(port) as smtp:
        smtp.ehlo()
        smtp.mail("")
        smtp.rcpt("ann@example.com")
        assert smtp.docmd("DATA")[0] == 354
        smtp.sock.sendall(stuffed + b".\r\n")  # type: ignore[union-attr]
        assert smtp.getreply()[0] == 250
    assert stored(tmp_path, 1) == data
    assert control.received(1)[0].size == len(data)


def test_it_offers_what_mail_servers_offer(server: Process, port: int) -> None:
    with client(port) as smtp:
        smtp.ehlo()
        for extension in ("size", "8bitmime", "smtputf8", "pipelining", "enhancedstatuscodes"):
            assert smtp.has_extn(extension)
        assert smtp.mail("jürgen@example.org", ["SMTPUTF8", "BODY=8BITMIME", "SIZE=100"])[0] == 250
        assert smtp.rcpt("jürgen@example.com")[0] == 250
        assert smtp.data(BODY)[0] == 250
        assert smtp.mail("a@example.org", ["SIZE=99999999999"])[0] == 552
    assert control.received(1)[0].recipients == ("jürgen@example.com",)


def test_a_pipelining_client_gets_every_answer_in_order(server: Process, port: int) -> None:
    dialogue = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
    dialogue += (
        b"Subject: x\r\n\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nDATA\r\ny\r\n.\r\nQUIT\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(dialogue)
        answers = connection.makefile("rb").read().split(b"\r\n")
    codes = [answer[:3] for answer in answers if answer[3:4] == b" "]
    assert codes == [b"220", b"250"] + [b"250", b"250", b"354", b"250"] * 2 + [b"221"]
    assert control.count() == 2


def test_only_crlf_dot_crlf_ends_a_message(server: Process, port: int, tmp_path: Path) -> None:
    send(port, b"a\r\n")
    data = b"one\n.\ntwo\r\n.\nthree\n.\r\nfour\r\n"
    with client(port) as smtp:
        smtp.ehlo()
        smtp.mail("a@example.org")
        smtp.rcpt("b@example.com")
        smtp.docmd("DATA")
        smtp.sock.sendall(data.replace(b"\r\n.", b"\r\n..") + b".\r\n")  # type: ignore[union-attr]
        assert smtp.getreply()[0] == 250
    assert stored(tmp_path, 2) == data


def test_stopped_refuses_connections_and_drops_those_it_has(server: Process, port: int) -> None:
    with client(port) as smtp:
        smtp.ehlo()
        control.set_mode("stopped")
        wait_until(lambda: not listens(port), "the port refuses connections")
        assert smtp.sock.recv(100) == b""  # type: ignore[union-attr]
    assert server.alive
    control.set_mode("up")
    wait_until(lambda: listens(port), "the port accepts connections")
    send(port)
    assert control.count() == 1


def test_refuse4_is_temporary_and_keeps_nothing(server: Process, port: int) -> None:
    with client(port) as smtp:
        smtp.ehlo()
        assert smtp.mail("a@example.org")[0] == 250
        control.set_mode("refuse4")
        wait_until(lambda: smtp.rcpt("b@example.com")[0] == 451, "it refuses for now")
        smtp.rset()
        assert smtp.mail("a@example.org") == (451, b"4.3.1 Insufficient system storage")
    assert control.count() == 0


def test_refuse5_refuses_real_people_but_not_the_postmaster(server: Process, port: int) -> None:
    control.set_mode("refuse5")
    with client(port) as smtp:
        smtp.ehlo()
        assert smtp.mail("a@example.org")[0] == 250
        wait_until(lambda: smtp.rcpt("ann@example.com")[0] == 550, "it refuses people")
        smtp.rset()
        smtp.mail("a@example.org")
        assert smtp.rcpt("ann@example.com")[0] == 550
        assert smtp.rcpt("Postmaster@example.com")[0] == 250


def test_slow_answers_after_seconds(server: Process, port: int) -> None:
    with client(port) as smtp:
        smtp.ehlo()
        control.set_mode("slow")
        wait_until(lambda: "slow" in server.log(), "it follows")
        smtp.sock.settimeout(1)  # type: ignore[union-attr]
        smtp.putcmd("noop")
        with pytest.raises(TimeoutError):
            smtp.sock.recv(1)  # type: ignore[union-attr]
        smtp.sock.settimeout(10)  # type: ignore[union-attr]
        assert smtp.getreply()[0] == 250


@pytest.mark.parametrize(
    "dialogue",
    [
        pytest.param(
            b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhalf a mess", id="half a message"
        ),
        pytest.param(b"\x00\xff\xfe\x16\x03\x01" * 2000, id="garbage"),
        pytest.param(b"DATA\r\nRCPT TO:<a@b>\r\nMAIL FROM:<a@b>\r\nEHLO c\r\nDATA\r\n", id="wrong order"),
    ],
)
def test_a_bad_client_leaves_nothing_and_the_next_is_served(
    server: Process, port: int, dialogue: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(dialogue)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            connection.makefile("rb").read()
    send(port)
    assert control.count() == 1


def test_what_it_acknowledged_survives_a_kill(processes: Processes, port: int) -> None:
    server = start(processes, port)
    acknowledged: list[str] = []

    def load(part: int) -> None:
        try:
            with client(port) as smtp:
                for number in range(10_000):
                    name = f"<{part}.{number}@example.org>"
                    smtp.sendmail("a@example.org", "b@example.com", f"Message-ID: {name}\r\n\r\n")
                    acknowledged.append(name)
        except (smtplib.SMTPException, OSError):
            pass

    threads = [threading.Thread(target=load, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 60, "it works under load")
    server.kill()
    for thread in threads:
        thread.join(10)
    start(processes, port)
    kept = [message.message_id for message in control.received(2000)]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept)) == control.count()
    numbers = {int(path.stem) for path in (processes.directory / "demo" / "mail").iterdir()}
    assert numbers == set(range(1, len(kept) + 1))
    send(port)
    assert control.count() == len(kept) + 1


def test_it_stops_within_a_second_even_with_an_open_connection(server: Process, port: int) -> None:
    with client(port) as smtp:
        smtp.ehlo()
        assert server.stop() < 1
    assert "Traceback" not in server.log()


def test_it_is_small_and_without_django(server: Process, port: int) -> None:
    send(port)
    memory = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    private_kb = sum(int(size) for size in re.findall(r"(?m)^Private_\w+:\s+(\d+) kB$", memory))
    assert 0 < private_kb < 40 * 1024
    assert "django" not in Path(f"/proc/{server.pid}/maps").read_text()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=10)


def test_a_mode_nobody_knows_is_refused(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    with pytest.raises(ValueError, match="asleep"):
        control.set_mode("asleep")
    assert control.get_mode() == "up"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mode").write_text("nonsense")
    assert control.get_mode() == "up"


def test_only_the_newest_are_kept_and_all_are_counted(tmp_path: Path, settings: Settings) -> None:
    settings.DATA_DIR = tmp_path
    mailbox = Mailbox(tmp_path / "demo", keep=10)
    example: Received | None = None
    for number in range(37):
        example = mailbox.add(_now(), "", ["b@example.com"], b"Subject: %d\r\n\r\n" % number)
    assert control.count() == 37
    assert control.received(1) == [example]
    assert [message.subject for message in control.received(3)] == ["36", "35", "34"]
    assert sorted(path.stem for path in (tmp_path / "demo" / "mail").iterdir()) == [
        str(n) for n in range(28, 38)
    ]
    assert len(read_index(tmp_path / "demo", 1000)) < 20
    assert control.received(0) == []


def test_a_line_half_written_in_a_crash_is_dropped(tmp_path: Path, settings: Settings) -> None:
    settings.DATA_DIR = tmp_path
    mailbox = Mailbox(tmp_path / "demo")
    mailbox.add(_now(), "", ["b@example.com"], b"Subject: one\r\n\r\n")
    with (tmp_path / "demo" / "index.jsonl").open("ab") as index:
        index.write(b'{"at": "2026-')
    (tmp_path / "demo" / "mail" / "2.eml").write_bytes(b"never acknowledged")
    assert control.count() == 1
    again = Mailbox(tmp_path / "demo")
    assert not (tmp_path / "demo" / "mail" / "2.eml").exists()
    again.add(_now(), "", ["b@example.com"], b"Subject: two\r\n\r\n")
    assert [message.subject for message in control.received(5)] == ["two", "one"]
