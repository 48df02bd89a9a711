"""The mail server that other tests lean on does what its rules say."""

import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.mailserver import CLOSE, MailServer


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer(tls=True) as server:
        yield server


def client(server: MailServer) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="me.example", timeout=5)


def test_it_keeps_what_it_took_byte_for_byte(server: MailServer) -> None:
    with client(server) as smtp:
        smtp.sendmail(
            "a@x.example", ["b@y.example", "c@y.example"], b"Message-ID: <1@x>\r\n\r\n..dots\r\n.\r\nend\r\n"
        )
    (message,) = server.wait_for(1)
    assert message.data == b"Message-ID: <1@x>\r\n\r\n..dots\r\n.\r\nend\r\n"
    assert (message.sender, message.recipients) == ("a@x.example", ("b@y.example", "c@y.example"))
    assert message.header("message-id") == "<1@x>"


def test_rules_hold_for_their_stage_times_and_address(server: MailServer) -> None:
    server.reply("rcpt", "550 5.1.1 no", to="ghost@")
    server.reply("end", "451 4.3.0 later", times=1)
    with client(server) as smtp:
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail("a@x.example", ["b@y.example"], b"x\r\n")
        assert smtp.sendmail("a@x.example", ["ghost@y.example", "b@y.example"], b"x\r\n") == {
            "ghost@y.example": (550, b"5.1.1 no")
        }
    assert len(server.messages) == 1


def test_it_can_hang_up_in_the_content_and_refuse_connections(server: MailServer) -> None:
    server.reply("body", CLOSE)
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)), client(server) as smtp:
        smtp.sendmail("a@x.example", ["b@y.example"], b"x\r\n" * 100_000)
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    server.behave()
    server.start()
    with client(server) as smtp:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        smtp.starttls(context=context)
        smtp.sendmail("a@x.example", ["b@y.example"], b"x\r\n")
    assert [message.tls for message in server.messages] == [True]
