"""Many messages over one connection to the relay: each has its own result, whatever meets the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pytest_django import Settings

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, kept_open, smtp
from tests.support.processes import wait_until
from tests.support.relay import Relay

MESSAGE = Rendered(1, "7.1", "anna@elsewhere.example", "email", "Subject", "Text\n")


def to(address: str) -> str:
    return smtp.send(replace(MESSAGE, to=f"{address}@elsewhere.example"))


def connections(relay: Relay) -> int:
    return len(set(relay.connections))


def test_messages_share_a_connection_only_inside(mail_relay: Relay) -> None:
    with kept_open():
        assert [to(name) for name in "abc"] == ["250 2.0.0 Ok: queued as 4XyZ"] * 3
    assert connections(mail_relay) == 1
    to("d")
    assert (connections(mail_relay), len(mail_relay.received)) == (2, 4)


def test_a_refused_message_leaves_the_connection_to_the_next(mail_relay: Relay) -> None:
    with kept_open():
        mail_relay.at_rcpt = "550 5.1.1 no such user"
        with pytest.raises(PermanentFailure):
            to("a")
        mail_relay.at_rcpt, mail_relay.at_data = "250 Ok", "451 4.3.0 not now"
        with pytest.raises(TemporaryFailure, match="451") as failure:
            to("b")
        assert not failure.value.everybody
        mail_relay.recover()
        to("c")
    assert (connections(mail_relay), len(mail_relay.received)) == (1, 1)


def test_a_connection_that_the_relay_ended_meanwhile_is_replaced(mail_relay: Relay) -> None:
    with kept_open():
        to("a")
        mail_relay.hang_up()
        wait_until(lambda: all(one.is_closing() for one in mail_relay.connections), "it hung up")
        to("b")
    assert [mail.recipients[0][0] for mail in mail_relay.received] == ["a", "b"]
    assert connections(mail_relay) == 2


def test_a_relay_that_closes_is_tried_anew_once_and_is_everybodys_trouble(mail_relay: Relay) -> None:
    with kept_open():
        to("a")
        mail_relay.at_rcpt = "421 4.3.2 shutting down"
        with pytest.raises(TemporaryFailure, match="shutting down") as failure:
            to("b")
    assert failure.value.everybody
    assert connections(mail_relay) == 2


def test_a_message_that_was_whole_is_never_sent_again_by_itself(mail_relay: Relay) -> None:
    with kept_open():
        to("a")
        mail_relay.drop_at = "data"
        with pytest.raises(TemporaryFailure) as failure:
            to("b")
    assert failure.value.perhaps_sent
    assert [mail.recipients[0][0] for mail in mail_relay.received] == ["a", "b"]


def test_after_many_messages_the_connection_is_a_new_one(
    mail_relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "MESSAGES_PER_CONNECTION", 2)
    with kept_open():
        for name in "abcde":
            to(name)
    assert connections(mail_relay) == 3


def test_no_relay_is_everybodys_trouble(mail_relay: Relay, settings: Settings) -> None:
    settings.ALERT_EMAIL_URL = "smtp://127.0.0.1:1"
    with kept_open(), pytest.raises(TemporaryFailure) as failure:
        to("a")
    assert failure.value.everybody
    settings.ALERT_EMAIL_URL = mail_relay.url
    with kept_open():
        to("a")
