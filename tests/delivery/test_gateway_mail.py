"""Real mail from real clients: what is stored is what was sent, byte for byte but for our line."""

from __future__ import annotations

import random
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest
from django.utils import timezone

from delivery.models import Message, MessageContent, NextHop, Recipient
from tests.support.gateway import Client, RunningGateway, account, gateway, offers, stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> object:
    account()
    with gateway() as running:
        yield running


def smtp(server: RunningGateway) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=20)


def swaks(server: RunningGateway, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["swaks", "--server", f"127.0.0.1:{server.port}", "--ehlo", "client.example"]
    command += ["--from", "bob@else.example", "--to", "anna@one.example", *options]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


MESSAGES = {
    "plain": b"Subject: hi\r\n\r\nHello\r\n",
    "html": b'MIME-Version: 1.0\r\nContent-Type: text/html; charset="utf-8"\r\n\r\n<p>Hello</p>\r\n',
    "eight bit without MIME": b"Subject: Gr\xfc\xdfe\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "long lines": b"Subject: long\r\n\r\n" + b"x" * 300_000 + b"\r\n" + b"." * 5000 + b"\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n...\r\nmid.dle\r\n.\r\n",
    "broken headers": b"no header at all\r\n: \r\nSubject\r\n\tfolded\r\n=?utf-8?B?\r\n",
    "empty body": b"Subject: only\r\n\r\n",
    "nothing": b"",
    "null bytes": b"Subject: a\x00b\r\n\r\n\x00\x01\x02\r\n",
    "blank first line": b"\r\nbody\r\n",
}


def test_each_kind_of_message_is_stored_byte_for_byte(server: RunningGateway) -> None:
    with Client(server.port) as client:
        for name, content in MESSAGES.items():
            stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
            assert client.mail(stuffed + b".\r\n").startswith("250 2.0.0 "), name
        assert client.ask("QUIT").startswith("221 2.0.0 ")
    assert stored() == list(MESSAGES.values())
    for content_row in MessageContent.objects.select_related("message"):
        assert content_row.message.size == len(bytes(content_row.data))


def test_smtplib_sends_twenty_megabytes(server: RunningGateway) -> None:
    lines = random.Random(1).randbytes(10 * 1024 * 1024).hex().encode()
    body = b"\r\n".join(lines[at : at + 76] for at in range(0, len(lines), 76))
    content = b"Subject: attachment\r\n\r\n" + body + b"\r\n"
    with smtp(server) as client:
        client.sendmail("bob@else.example", ["anna@one.example"], content)
    assert stored() == [content]


def test_a_message_of_many_recipients_keeps_every_address_as_given(server: RunningGateway) -> None:
    to = ["anna@one.example", "ANNA+news@One.Example", "Abuse@one.example", '"anna"@one.example']
    with Client(server.port) as client:
        client.ask("MAIL FROM:<>")
        for address in [*to, to[0]]:
            assert client.ask(f"RCPT TO:<{address}>").startswith("250 2.1.5")
        client.ask("DATA")
        client.send(b"x\r\n.\r\n")
        assert client.reply().startswith("250")
    assert list(Recipient.objects.order_by("pk").values_list("address", flat=True)) == to
    assert Message.objects.get().sender == ""


def test_the_envelope_is_stored(server: RunningGateway) -> None:
    with Client(server.port) as client:
        client.ask("MAIL FROM:<Bob@Else.example> BODY=8BITMIME RET=hdrs ENVID=QQ+2B1 SIZE=100")
        client.ask("RCPT TO:<anna@one.example> NOTIFY=SUCCESS,failure ORCPT=rfc822;a@b.example")
        client.ask("DATA")
        client.send(
            b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Bob <b@x>\r\nMessage-ID: <1@x>\r\n\r\nx\r\n.\r\n"
        )
        client.reply()
    message, recipient, hop = Message.objects.get(), Recipient.objects.get(), NextHop.objects.get()
    assert (message.sender, message.ret, message.envid) == ("Bob@Else.example", "HDRS", "QQ+2B1")
    assert (message.body_8bit, message.smtputf8, message.tls) == (True, False, "")
    assert (message.client_address, message.helo) == ("127.0.0.1", "client.example")
    assert (message.subject, message.header_from, message.message_id) == ("Grüße", "Bob <b@x>", "<1@x>")
    assert (recipient.notify, recipient.orcpt) == ("SUCCESS,FAILURE", "rfc822;a@b.example")
    assert (recipient.state, recipient.next_hop_id) == (Recipient.State.QUEUED, hop.pk)
    assert abs((timezone.now() - message.accepted_at).total_seconds()) < 30


def test_swaks_sends_mail_and_reads_the_offers(server: RunningGateway) -> None:
    done = swaks(server, "--header", "Subject: by swaks", "--body", "first line\n.\nlast line")
    assert done.returncode == 0, done.stdout
    for offer in (
        "PIPELINING",
        "SIZE 52428800",
        "8BITMIME",
        "SMTPUTF8",
        "STARTTLS",
        "ENHANCEDSTATUSCODES",
        "DSN",
    ):
        assert f" {offer}\n" in done.stdout or f"-{offer}\n" in done.stdout
    assert "AUTH" not in done.stdout
    assert b"first line\r\n.\r\nlast line\r\n" in stored()[0]


def test_swaks_is_told_why_a_recipient_is_refused(server: RunningGateway) -> None:
    done = swaks(server, "--to", "nobody@one.example")
    assert done.returncode == 24
    assert "550 5.1.1" in done.stdout
    assert not Message.objects.exists()


def test_pipelined_commands_are_answered_in_order(server: RunningGateway) -> None:
    group = "MAIL FROM:<b@else.example>\r\nRCPT TO:<no@one.example>\r\nRCPT TO:<anna@one.example>\r\nDATA\r\n"
    with Client(server.port) as client:
        client.send(group.encode())
        assert [client.reply()[:9] for _ in range(4)] == ["250 2.1.0", "550 5.1.1", "250 2.1.5", "354 End d"]
        client.send(b"one\r\n.\r\n" + group.encode())
        assert [client.reply()[:3] for _ in range(5)] == ["250", "250", "550", "250", "354"]
        client.send(b"two\r\n.\r\nQUIT\r\n")
        assert [client.reply()[:3] for _ in range(2)] == ["250", "221"]
        assert client.reply() == ""
    assert stored() == [b"one\r\n", b"two\r\n"]


def test_a_client_that_says_all_and_closes_its_side_is_served(server: RunningGateway) -> None:
    with Client(server.port, ehlo=False) as client:
        client.send(
            b"EHLO c\r\nMAIL FROM:<b@else.example>\r\nRCPT TO:<anna@one.example>\r\nDATA\r\nx\r\n.\r\n"
        )
        client.socket.shutdown(1)
        assert [client.reply()[:3] for _ in range(6)] == ["220", "250", "250", "250", "354", "250"]
    assert stored() == [b"x\r\n"]


def test_bare_line_ends_become_crlf_and_smuggle_nothing(server: RunningGateway) -> None:
    smuggled = (
        b"one\n.\nMAIL FROM:<evil@else.example>\r\ntwo\n.\r\nRCPT TO:<anna@one.example>\r\n\r.\r\nend\r"
    )
    with Client(server.port) as client:
        assert client.mail(smuggled + b"\r\n.\r\n").startswith("250")
        assert client.ask("NOOP").startswith("250")
    assert stored() == [
        b"one\r\n.\r\nMAIL FROM:<evil@else.example>\r\n"
        b"two\r\n.\r\nRCPT TO:<anna@one.example>\r\n\r\n.\r\nend\r\n"
    ]


def test_bare_line_ends_are_refused_where_set(settings: object) -> None:
    settings.BARE_LF = "refuse"  # type: ignore[attr-defined]
    account()
    with gateway() as server, Client(server.port) as client:
        assert client.mail(b"one\ntwo\r\n.\r\n").startswith("554 5.6.0 ")
        assert client.mail(b"one\r\ntwo\r\n.\r\n").startswith("250 ")
    assert stored() == [b"one\r\ntwo\r\n"]


def test_smtputf8_is_taken_where_the_mail_server_offers_it() -> None:
    one, two = account("one"), account("two")
    offers(one, smtputf8=True)
    offers(two, smtputf8=False)
    with gateway() as server, Client(server.port) as client:
        assert client.ask("MAIL FROM:<jörg@büro.example>").startswith("553 5.6.7")
        assert client.ask("MAIL FROM:<jörg@büro.example> SMTPUTF8").startswith("250")
        assert client.ask("RCPT TO:<anna@two.example>").startswith("553 5.6.7")
        assert client.ask("RCPT TO:<anna@one.example>").startswith("250")
        client.ask("DATA")
        client.send("Subject: Grüße\r\n\r\nö\r\n.\r\n".encode())
        assert client.reply().startswith("250")
    message = Message.objects.get()
    assert (message.sender, message.smtputf8, message.subject) == ("jörg@büro.example", True, "Grüße")
    assert b" with UTF8SMTP id " in bytes(message.content.data)


def test_smtplib_sends_smtputf8_to_a_u_label_domain() -> None:
    made = account()
    offers(made, smtputf8=True)
    made.domains.create(name="xn--bcher-kva.example", policy="all")
    with gateway() as server, smtp(server) as client:
        client.sendmail("jörg@else.example", ["jürgen@Bücher.example"], b"x\r\n", ["SMTPUTF8"])
    assert Recipient.objects.get().address == "jürgen@Bücher.example"


def test_a_message_for_two_accounts_becomes_one_for_each() -> None:
    one, two = account("one"), account("two")
    with gateway() as server, Client(server.port) as client:
        client.ask("MAIL FROM:<b@else.example>")
        for to in ("anna@one.example", "anna@two.example", "postmaster@one.example"):
            assert client.ask(f"RCPT TO:<{to}>").startswith("250")
        client.ask("DATA")
        client.send(b"x\r\n.\r\n")
        assert client.reply().startswith("250")
    assert stored() == [b"x\r\n"] * 2
    for made, addresses in (
        (one, ["anna@one.example", "postmaster@one.example"]),
        (two, ["anna@two.example"]),
    ):
        message = Message.objects.get(account=made)
        assert sorted(message.recipients.values_list("address", flat=True)) == addresses


def test_starttls_encrypts_and_says_so_in_the_received_line(server: RunningGateway) -> None:
    context = ssl._create_unverified_context()
    with smtp(server) as client:
        client.starttls(context=context)
        client.ehlo()
        assert "starttls" not in client.esmtp_features
        content = b"Subject: tls\r\n\r\n" + b"x" * 500_000 + b"\r\n"
        client.sendmail("bob@else.example", ["anna@one.example"], content)
        client.sendmail("bob@else.example", ["anna@one.example"], b"second\r\n")
        assert client.docmd("STARTTLS")[0] == 503
    assert stored() == [content, b"second\r\n"]
    message = Message.objects.first()
    assert message
    assert message.tls == "TLSv1.3"
    assert b" with ESMTPS (TLSv1.3 TLS_" in bytes(message.content.data)[:300]


def test_the_certificate_is_our_own_and_private(server: RunningGateway, settings: object) -> None:
    file = Path(settings.DATA_DIR) / "tls" / "gateway.pem"  # type: ignore[attr-defined]
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_sent_in_plain_text_behind_starttls_is_never_obeyed(server: RunningGateway) -> None:
    with Client(server.port) as client:
        client.send(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<evil@else.example>\r\n")
        assert client.reply().startswith("220")
        client.socket = ssl._create_unverified_context().wrap_socket(client.socket)
        assert client.ask("RCPT TO:<anna@one.example>").startswith("503 5.5.1")
        assert client.ask("MAIL FROM:<bob@else.example>").startswith("503 5.5.1")  # greet again: RFC 3207 4.2
        assert client.ask("EHLO c").startswith("250")
        assert client.mail(b"x\r\n.\r\n").startswith("250")
    assert Message.objects.get().sender == "bob@else.example"


def test_a_failed_handshake_ends_that_connection_only(server: RunningGateway) -> None:
    with Client(server.port) as client, Client(server.port) as other:
        client.ask("STARTTLS")
        client.send(b"this is no client hello" * 20)
        while client.socket.recv(1000):
            pass
        assert other.mail(b"x\r\n.\r\n").startswith("250")
