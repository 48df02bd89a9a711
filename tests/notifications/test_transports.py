"""Each transport against the real thing: what is temporary, permanent or unknown, and what is logged."""

from __future__ import annotations

import logging

import pytest
from pytest_django import Settings

from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, apprise_, smtp
from tests.notifications.conftest import LINK
from tests.support.processes import free_port
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

MAIL = Rendered(
    1, "7.9", "maria@elsewhere.example", "email", "Failing since 03:12", f"Text {LINK}", "<p>x</p>"
)
SMS = Rendered(1, "7.9", "+4915123456789", "sms", "", f"Text {LINK}")


@pytest.fixture
def app(provider: SmsProvider) -> Rendered:
    return Rendered(1, "7.9", provider.app_url, "app", "Failing since 03:12", f"Text {LINK}")


def test_a_mail_says_that_it_is_automatic_and_has_both_forms(mail_relay: Relay) -> None:
    assert smtp.send(MAIL) == "250 2.0.0 Ok: queued as 4XyZ"
    [mail] = mail_relay.received
    parsed = mail.parsed
    assert mail.sender == "alerts@relay.example.net"
    assert parsed["Message-ID"] == "<continuity.7.9@relay.example.net>"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["X-Auto-Response-Suppress"] == "All"
    assert parsed["Subject"] == "Failing since 03:12"
    assert [part.get_content_type() for part in parsed.walk()][1:] == ["text/plain", "text/html"]
    assert mail.text.strip() == f"Text {LINK}"


@pytest.mark.parametrize(
    ("at_rcpt", "at_data", "permanent"),
    [
        ("550 5.1.1 No such user", "250 Ok", True),
        ("550 User unknown", "250 Ok", True),
        ("550 5.7.1 Relaying denied", "250 Ok", False),
        ("554 5.4.14 Hop count exceeded", "250 Ok", False),
        ("451 4.7.1 Greylisted", "250 Ok", False),
        ("250 Ok", "451 4.3.0 Disk full", False),
        ("250 Ok", "554 5.7.1 Spam", False),
    ],
)
def test_only_a_refusal_of_the_address_itself_is_permanent(
    mail_relay: Relay, at_rcpt: str, at_data: str, permanent: bool
) -> None:
    mail_relay.at_rcpt, mail_relay.at_data = at_rcpt, at_data
    with pytest.raises((TemporaryFailure, PermanentFailure)) as raised:
        smtp.send(MAIL)
    assert raised.type is (PermanentFailure if permanent else TemporaryFailure)
    assert (at_rcpt if at_data == "250 Ok" else at_data) in str(raised.value)
    assert not getattr(raised.value, "perhaps_sent", False)


@pytest.mark.parametrize("how", ["hang_at", "drop_at"])
@pytest.mark.parametrize(("stage", "perhaps"), [("rcpt", False), ("data", True)])
def test_silence_after_the_whole_message_may_mean_that_it_arrived(
    mail_relay: Relay, how: str, stage: str, perhaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "ANSWER_SECONDS", 0.3)
    setattr(mail_relay, how, stage)
    with pytest.raises(TemporaryFailure) as raised:
        smtp.send(MAIL)
    assert raised.value.perhaps_sent == perhaps


def test_a_relay_that_is_away_or_wrongly_written_is_temporary(settings: Settings) -> None:
    for url in (f"smtp://127.0.0.1:{free_port()}", "nonsense", "consolemail://", ""):
        settings.ALERT_EMAIL_URL = url
        with pytest.raises(TemporaryFailure) as raised:
            smtp.send(MAIL)
        assert not raised.value.perhaps_sent


def test_relay_urls() -> None:
    options = smtp.relay_options("smtp+tls://me:p%40ss@relay.example.net")
    assert (options["port"], options["username"], options["password"]) == (587, "me", "p@ss")
    assert (options["use_tls"], options["use_ssl"]) == (True, False)
    assert smtp.relay_options("smtp+ssl://relay.example.net")["port"] == 465


def test_an_sms_goes_to_the_number_and_an_app_to_its_own_address(
    provider: SmsProvider, app: Rendered
) -> None:
    apprise_.send_sms(SMS)
    apprise_.send_app(app)
    sms, push = provider.received
    assert (sms.path, sms.text, sms.body["title"]) == ("/sms/4915123456789", f"Text {LINK}", "")
    assert (push.path, push.text, push.body["title"]) == ("/app/", f"Text {LINK}", "Failing since 03:12")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_sms_never_fails_for_good(provider: SmsProvider, status: int) -> None:
    provider.status, provider.answer, provider.content_type = status, b"<h1>Sorry</h1>", "text/html"
    with pytest.raises(TemporaryFailure) as raised:
        apprise_.send_sms(SMS)
    assert not raised.value.perhaps_sent
    assert str(status) in str(raised.value)
    assert "Sorry" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "permanent"), [(401, True), (403, True), (410, True), (429, False), (500, False)]
)
def test_an_app_that_does_not_accept_its_address_fails_for_good(
    provider: SmsProvider, app: Rendered, status: int, permanent: bool
) -> None:
    provider.status = status
    with pytest.raises(PermanentFailure if permanent else TemporaryFailure):
        apprise_.send_app(app)


def test_an_app_address_that_nobody_understands_fails_for_good() -> None:
    with pytest.raises(PermanentFailure):
        apprise_.send_app(Rendered(1, "7.9", "nonsense://x", "app", "", "Text"))


def test_a_provider_without_an_answer_may_have_sent_it(
    provider: SmsProvider, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise_, "ANSWER_SECONDS", 0.2)
    provider.hang()
    with pytest.raises(TemporaryFailure) as raised:
        apprise_.send_sms(SMS)
    assert raised.value.perhaps_sent
    settings.ALERT_SMS_URL = f"json://127.0.0.1:{free_port()}/{{to}}"
    with pytest.raises(TemporaryFailure) as raised:
        apprise_.send_sms(SMS)
    assert not raised.value.perhaps_sent


def test_an_endless_or_dripping_answer_holds_up_nobody(
    provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.status, provider.answer, provider.endless = 500, b"x" * 10, True
    with pytest.raises(TemporaryFailure) as raised:
        apprise_.send_sms(SMS)
    assert not raised.value.perhaps_sent
    provider.endless, provider.drips = False, True
    monkeypatch.setattr(apprise_, "MESSAGE_SECONDS", 0.2)
    with pytest.raises(TemporaryFailure) as raised:
        apprise_.send_sms(SMS)
    assert raised.value.perhaps_sent
    assert "took too long" in str(raised.value)


def test_no_log_sees_an_address_a_secret_or_a_text(
    provider: SmsProvider, app: Rendered, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    everything = Everything(logging.DEBUG)
    root = logging.getLogger()
    level = root.level
    root.addHandler(everything)
    root.setLevel(logging.DEBUG)
    try:
        for status in (200, 401, 500):
            provider.status = status
            for send, message in ((apprise_.send_sms, SMS), (apprise_.send_app, app)):
                try:
                    send(message)
                except (TemporaryFailure, PermanentFailure) as failure:
                    seen.append(str(failure))
    finally:
        root.removeHandler(everything)
        root.setLevel(level)
    everything_seen = "\n".join([*seen, *capfd.readouterr()])
    assert len(seen) >= 4
    for secret in ("4915123456789", "app-password", "AbCdEfGhIjKlMnOpQrStUv"):
        assert secret not in everything_seen
