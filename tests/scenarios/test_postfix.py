"""The mail server of the scenarios is a real one: it can be stopped under load and started again."""

from __future__ import annotations

import smtplib

import pytest

from tests.support import postfix
from tests.support.processes import listens, wait_until

pytestmark = pytest.mark.skipif(not postfix.available(), reason="needs Postfix, Dovecot and root")


def test_it_takes_mail_refuses_strangers_and_survives_a_stop() -> None:
    with postfix.mail_server(["ann@example.com", "jürgen@example.com"]) as server:
        body = b"Message-ID: <1@example.org>\r\n\r\nfirst\r\n.\r\n"
        with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as smtp:
            smtp.sendmail("a@example.org", "ann@example.com", body)
            smtp.ehlo()
            assert smtp.has_extn("smtputf8")
            assert smtp.rcpt("nobody@example.com")[0] == 503
            smtp.mail("a@example.org")
            assert smtp.rcpt("nobody@example.com")[0] == 550
            assert smtp.rcpt("ann@elsewhere.example")[0] == 554
            smtp.rset()
            smtp.sendmail("ä@example.org", "jürgen@example.com", body.replace(b"1", b"2"), ["SMTPUTF8"])
        server.stop()
        assert not listens(server.port)
        server.start()
        with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as smtp:
            smtp.sendmail("a@example.org", "ann@example.com", body.replace(b"1", b"3"))
        wait_until(lambda: server.stored() == 3, "all are stored")
        messages = server.messages()
        assert {(message.address, message.message_id) for message in messages} == {
            ("ann@example.com", "<1@example.org>"),
            ("jürgen@example.com", "<2@example.org>"),
            ("ann@example.com", "<3@example.org>"),
        }
        assert all(message.content.endswith(b"\r\n\r\nfirst\r\n.\r\n") for message in messages)
        assert all(message.queue_id for message in messages)
