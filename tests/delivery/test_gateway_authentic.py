"""The gateway evaluates who a message is from, says so in a line, and leaves the rest as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dkim as dkimpy
import pytest
from pytest_django import Settings

from delivery.models import Message, MessageContent
from tests.delivery.signed import MAIL, publish, rsa_key, signed
from tests.support.dns import DnsServer, dns_server
from tests.support.gateway import Client, account, gateway, stored

pytestmark = pytest.mark.django_db(transaction=True)

END = b".\r\n"
OURS = b"Authentication-Results: continuity.localhost;\r\n"


@pytest.fixture
def dns(settings: Settings) -> Iterator[DnsServer]:
    settings.TRUSTED_NETWORKS = []
    with dns_server() as server:
        server.add("sender.example", "TXT", '"v=spf1 ip4:127.0.0.1 -all"')
        yield server


def contents() -> list[bytes]:
    return [bytes(row.data) for row in MessageContent.objects.order_by("pk")]


def test_what_was_found_stands_on_top_and_with_the_message(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    account()
    with gateway() as server, Client(server.port) as client:
        assert client.mail(signed() + END, sender="bob@sender.example").startswith("250")
    (data,) = contents()
    assert data.startswith(
        OURS + b"\tspf=pass smtp.mailfrom=sender.example;\r\n"
        b"\tdkim=pass header.d=sender.example header.s=s1;\r\n"
        b"\tdmarc=none header.from=sender.example\r\nReceived: from client.example ([127.0.0.1])\r\n"
    )
    message = Message.objects.get()
    assert message.authentic is True
    assert message.auth_results == (
        "spf=pass smtp.mailfrom=sender.example; dkim=pass header.d=sender.example header.s=s1; "
        "dmarc=none header.from=sender.example"
    )
    assert message.size == len(data)
    assert message.subject == "hi"


@pytest.mark.parametrize("form", [b"simple", b"relaxed"])
def test_a_signature_still_verifies_behind_us(dns: DnsServer, form: bytes) -> None:
    publish(dns, rsa_key()[1])
    mail = signed(
        b"Authentication-Results: continuity.localhost; spf=pass\r\n" + MAIL, canonicalize=(form, form)
    )
    account()
    with gateway() as server, Client(server.port) as client:
        stuffed = mail.replace(b"\r\n.", b"\r\n..")
        assert client.mail(stuffed + END, sender="bob@sender.example").startswith("250")
    (data,) = contents()
    assert dkimpy.verify(data, dnsfunc=lambda name, timeout=5: rsa_key()[1].encode())
    assert data.count(b"Authentication-Results: continuity.localhost") == 1
    assert b"spf=pass\r\n" not in data
    assert data.endswith(mail[mail.index(b"From: ") :])


def test_a_forged_sender_is_taken_and_known_as_such(dns: DnsServer) -> None:
    dns.add("forged.example", "TXT", '"v=spf1 -all"')
    account()
    with gateway() as server, Client(server.port) as client:
        assert client.mail(MAIL + END, sender="bob@forged.example").startswith("250")
        assert client.mail(MAIL + END, sender="").startswith("250")
    forged, null = Message.objects.order_by("pk")
    assert (forged.authentic, null.authentic) == (False, None)
    assert "spf=fail smtp.mailfrom=forged.example" in forged.auth_results
    assert "spf=none smtp.helo=client.example" in null.auth_results


def test_the_answer_is_asked_while_the_data_come(dns: DnsServer) -> None:
    account()
    with gateway() as server, Client(server.port) as client:
        client.ask("MAIL FROM:<bob@sender.example>")
        assert client.ask("RCPT TO:<nobody@one.example>").startswith("550")
        assert dns.questions == []
        client.ask("RCPT TO:<anna@one.example>")
        client.ask("DATA")
        deadline = time.monotonic() + 5
        while not dns.questions and time.monotonic() < deadline:
            time.sleep(0.01)
        assert dns.questions == [("sender.example", "TXT")]
        client.send(MAIL + END)
        assert client.reply().startswith("250")


def test_a_dns_that_does_not_answer_holds_up_nobody_else(
    dns: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.authentic.evaluation.MOST_SECONDS", 0.5)
    for name in ("slow.example", "_dmarc.sender.example"):
        dns.silence(name)
    account()
    with gateway() as server, Client(server.port) as slow, Client(server.port) as quick:
        server.gateway.evaluator._seconds = 0.5  # type: ignore[union-attr]
        slow.ask("MAIL FROM:<bob@slow.example>")
        slow.ask("RCPT TO:<anna@one.example>")
        slow.ask("DATA")
        slow.send(MAIL.replace(b"sender", b"quick") + END)
        assert quick.mail(MAIL.replace(b"sender", b"quick") + END, sender="bob@sender.example")[:3] == "250"
        assert Message.objects.get().authentic is True
        assert slow.reply().startswith("250")
    assert Message.objects.order_by("pk")[1].auth_results.startswith("spf=temperror")
    assert Message.objects.order_by("pk")[1].authentic is None


def test_switched_off_nothing_is_asked_and_forged_lines_go_all_the_same(
    dns: DnsServer, settings: Settings
) -> None:
    settings.AUTHENTICATE = False
    account()
    with gateway() as server, Client(server.port) as client:
        mail = b"Authentication-Results: Continuity.localhost; dmarc=pass\r\n" + MAIL
        assert client.mail(mail + END, sender="bob@sender.example").startswith("250")
    assert stored() == [MAIL]
    assert (Message.objects.get().authentic, Message.objects.get().auth_results) == (None, "")
    assert dns.questions == []


def test_mail_of_our_own_networks_is_not_looked_up(dns: DnsServer, settings: Settings) -> None:
    settings.TRUSTED_NETWORKS = ["127.0.0.0/8"]
    account()
    with gateway() as server, Client(server.port) as client:
        assert client.mail(MAIL + END, sender="bob@sender.example").startswith("250")
    assert stored() == [MAIL]
    assert Message.objects.get().authentic is None
    assert dns.questions == []


def test_a_large_message_is_evaluated_in_pieces_beside_the_others(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    lines = (b"x " * 37 + b"\r\n") * 100_000
    mail = signed(MAIL + lines, canonicalize=(b"relaxed", b"relaxed"))
    account()
    with gateway() as server, Client(server.port) as large, Client(server.port) as other:
        large.ask("MAIL FROM:<bob@sender.example>")
        large.ask("RCPT TO:<anna@one.example>")
        large.ask("DATA")
        large.send(mail + END)
        slowest = 0.0
        large.socket.settimeout(0.001)
        answer = ""
        while not answer:
            began = time.monotonic()
            other.ask("NOOP")
            slowest = max(slowest, time.monotonic() - began)
            try:
                answer = large.reply()
            except TimeoutError:
                continue
        assert answer.startswith("250")
    assert slowest < 0.5
    assert Message.objects.get().authentic is True
    assert "dkim=pass" in Message.objects.get().auth_results
