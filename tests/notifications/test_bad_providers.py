"""Providers that misbehave, from the outbox's view: each ends in the right state, in words, and in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pytest_django import Settings

from accounts.models import Contact
from notifications import services
from notifications.models import Attempt
from notifications.reads import attempts_of
from notifications.transports import Rendered, TemporaryFailure, apprise_, http, smtp, transport_for
from tests.notifications.conftest import NOW, AddPoint, put
from tests.support.processes import free_port
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

PHONE, MAIL = "+4915123456789", "maria@elsewhere.example"

# How the provider is, the state of its attempt, and what its words say.
BAD = {
    "down": ("temporary", "No connection"),
    "slow": ("unknown", "took too long"),
    "closes": ("unknown", "gave no answer"),
    "amid": ("unknown", "broke off"),
    "429": ("temporary", "429"),
    "500": ("temporary", "500"),
    "credentials": ("temporary", "401 20003: Authenticate"),
    "html": ("temporary", "<title>Login</title>"),
    "endless": ("temporary", "no answer of Twilio"),
    "number": ("permanent", "400 21211: Invalid 'To' Phone Number"),
}


def misbehave(provider: SmsProvider, how: str) -> None:
    provider.answer_as_twilio()
    if how in {"slow", "closes"}:
        provider.hang()
        if how == "closes":
            provider.go_on.set()
    elif how == "amid":
        provider.answer, provider.promised = provider.answer[:20], 1000
    elif how.isdecimal():
        provider.answer_as_twilio(int(how), 20000 + int(how), "Sorry")
    elif how == "credentials":
        provider.answer_as_twilio(401, 20003, "Authenticate")
    elif how == "number":
        provider.answer_as_twilio(400, 21211, "Invalid 'To' Phone Number")
    elif how == "html":
        provider.status, provider.answer = 200, b"<html><title>Login</title></html>"
    elif how == "endless":
        provider.answer, provider.endless = b"{", True


@pytest.mark.parametrize("how", BAD)
def test_a_bad_provider_keeps_nobody_from_being_told(
    how: str,
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    mail_relay: Relay,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.3)
    settings.ALERT_SMS_URL = provider.twilio_url
    if how == "down":
        settings.ALERT_SMS_URL = provider.twilio_url.replace(str(provider.port), str(free_port()))
    else:
        misbehave(provider, how)
    point = add_point("sms", PHONE)
    add_point("email", MAIL)
    notification = put(contact)
    began = time.monotonic()
    services.send_due(NOW)
    assert time.monotonic() - began < 20
    sms, mail = attempts_of(notification.pk)
    state, words = BAD[how]
    assert (sms.state, mail.state) == (state, Attempt.State.SENT)
    assert words in sms.provider_reply
    assert len(sms.provider_reply) <= 500
    point.refresh_from_db()
    assert (point.disabled_at is not None) == (state == "permanent")
    assert len(mail_relay.received) == 1


@contextmanager
def talker(says: bytes, pause: float) -> Iterator[int]:
    """A server on a free port that says the same for ever."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        try:
            connection, _address = server.accept()
            with connection:
                while not stop.wait(pause):
                    connection.sendall(says)
        except OSError:
            pass  # the other side has had enough

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        stop.set()
        server.close()
        thread.join(5)


@pytest.mark.parametrize(("says", "pause"), [(b"220-and another thing\r\n" * 500, 0.0), (b"2", 0.05)])
def test_a_relay_whose_greeting_has_no_end_holds_up_nobody(
    says: bytes, pause: float, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "MESSAGE_SECONDS", 0.5)
    with talker(says, pause) as port:
        settings.ALERT_EMAIL_URL = f"smtp://127.0.0.1:{port}"
        began = time.monotonic()
        with pytest.raises(TemporaryFailure) as raised:
            smtp.send(Rendered(1, "7.9", MAIL, "email", "Subject", "Text"))
        assert time.monotonic() - began < 10
    assert not raised.value.perhaps_sent


@pytest.mark.parametrize("says", [b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n" * 2000, b"\x15\x03\x01\x00\x02"])
def test_a_service_that_speaks_no_http_holds_up_nobody(
    says: bytes, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise_, "MESSAGE_SECONDS", 0.5)
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.5)
    settings.WEBHOOK_NETWORKS = ["127.0.0.0/8"]
    for scheme in ("webhook+http://0123456789abcdef@", "json://"):
        with talker(says, 0.01) as port:
            message = Rendered(1, "7.9", f"{scheme}127.0.0.1:{port}/", "app", "Subject", "Text")
            began = time.monotonic()
            with pytest.raises(TemporaryFailure):
                transport_for("app", is_demo=False)(message)
            assert time.monotonic() - began < 10
