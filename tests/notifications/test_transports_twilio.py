"""Twilio's adapter against a server that speaks Twilio's API: what is sent, and what its answers mean."""

from __future__ import annotations

import base64

import pytest
from pytest_django import Settings

from notifications.checks import settings_can_work
from notifications.transports import (
    PermanentFailure,
    Rendered,
    TemporaryFailure,
    http,
    transport_for,
    twilio,
)
from tests.notifications.conftest import LINK
from tests.support.processes import free_port
from tests.support.sms_provider import ACCOUNT_SID, AUTH_TOKEN, TAKEN, SmsProvider

SMS = Rendered(1, "7.9", "+4915123456789", "sms", "", f"Text {LINK}")


@pytest.fixture
def api(provider: SmsProvider, settings: Settings) -> SmsProvider:
    settings.ALERT_SMS_URL = provider.twilio_url
    provider.answer_as_twilio()
    return provider


def send(message: Rendered = SMS) -> str:
    return transport_for("sms", is_demo=False)(message)


def failure() -> TemporaryFailure:
    with pytest.raises(TemporaryFailure) as raised:
        send()
    return raised.value


def test_a_message_is_handed_over_and_its_id_kept(api: SmsProvider) -> None:
    assert send() == f"queued as {TAKEN['sid']}"
    [sent] = api.received
    assert sent.path == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    assert sent.body == {"To": "+4915123456789", "From": "+12025550100", "Body": f"Text {LINK}"}
    secret = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
    assert sent.headers["Authorization"] == f"Basic {secret}"


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        ("https://continuity.example.org", True),
        ("https://8.8.8.8:8443", True),
        ("http://127.0.0.1:8000", False),
        ("https://10.1.2.3", False),
        ("https://gateway", False),
        ("https://gateway.internal", False),
    ],
)
def test_receipts_are_asked_for_where_twilio_can_reach_us(
    api: SmsProvider, settings: Settings, base_url: str, asked: bool
) -> None:
    settings.BASE_URL = base_url
    send()
    expected = f"{base_url}/receipts/twilio/7.9/" if asked else None
    assert api.received[0].body.get("StatusCallback") == expected


def test_what_is_no_alert_asks_for_no_receipt(api: SmsProvider, settings: Settings) -> None:
    settings.BASE_URL = "https://continuity.example.org"
    send(Rendered(1, "test", "+4915123456789", "sms", "", "Text"))
    assert "StatusCallback" not in api.received[0].body


@pytest.mark.parametrize(
    ("sender", "field", "value"),
    [
        ("15550100200", "From", "+15550100200"),
        ("Continuity", "From", "Continuity"),
        (f"MG{'0a' * 16}", "MessagingServiceSid", f"MG{'0a' * 16}"),
    ],
)
def test_senders(api: SmsProvider, settings: Settings, sender: str, field: str, value: str) -> None:
    settings.ALERT_SMS_URL = api.twilio_url.replace("+12025550100", sender)
    send()
    assert api.received[0].body[field] == value


@pytest.mark.parametrize(
    ("status", "code", "permanent"),
    [
        (400, 21211, True),
        (400, 21610, True),
        (400, 21614, True),
        (400, 21606, False),  # our sender
        (400, 21408, False),  # our account may not send there
        (401, 20003, False),  # our secrets
        (403, 20003, False),
        (404, 20404, False),
        (429, 20429, False),
        (500, 20500, False),
        (503, 0, False),
    ],
)
def test_only_what_is_about_the_number_is_permanent(
    api: SmsProvider, status: int, code: int, permanent: bool
) -> None:
    api.answer_as_twilio(status, code, "In Twilio's words")
    with pytest.raises((TemporaryFailure, PermanentFailure)) as raised:
        send()
    assert raised.type is (PermanentFailure if permanent else TemporaryFailure)
    assert str(raised.value).startswith(f"{status} {code}: In Twilio's words" if code else str(status))
    assert not getattr(raised.value, "perhaps_sent", False)


@pytest.mark.parametrize(("header", "seconds"), [("17", 17), ("soon", None), ("", None), ("-1", None)])
def test_the_wait_that_twilio_asks_for_is_known(api: SmsProvider, header: str, seconds: float | None) -> None:
    api.answer_as_twilio(429, 20429, "Too many requests")
    api.headers["Retry-After"] = header
    assert failure().retry_after == seconds


@pytest.mark.parametrize("status", [200, 201, 302, 502])
def test_html_is_no_acceptance(api: SmsProvider, status: int) -> None:
    api.status, api.answer, api.content_type = status, b"<h1>Captive portal</h1>", "text/html"
    api.headers["Location"] = f"http://127.0.0.1:{api.port}/elsewhere"
    failed = failure()
    assert "Captive portal" in str(failed)
    assert not failed.perhaps_sent
    assert len(api.received) == 1  # no redirect was followed


@pytest.mark.parametrize("answer", [b"[]", b'"sid"', b"{", b"[" * 50_000, b"\xff\x00"])
def test_json_of_another_shape_is_no_acceptance(api: SmsProvider, answer: bytes) -> None:
    api.status, api.answer = 200, answer
    assert "no answer of Twilio" in str(failure())


def test_an_answer_that_breaks_off_after_201_may_mean_that_it_was_taken(api: SmsProvider) -> None:
    api.answer, api.promised = api.answer[:20], 500
    assert failure().perhaps_sent
    api.status = 500
    assert not failure().perhaps_sent


def test_an_endless_answer_is_not_read_to_its_end(api: SmsProvider) -> None:
    api.answer, api.endless = b"x" * 10, True
    failed = failure()
    assert str(failed).startswith("This is no answer of Twilio's: 201 xxx")
    assert len(str(failed)) < 600


def test_an_answer_that_drips_ends_in_time(api: SmsProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    api.drips = True
    assert failure().perhaps_sent


def test_silence_is_unknown_and_no_connection_is_not(
    api: SmsProvider, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    api.hang()
    failed = failure()
    assert failed.perhaps_sent
    assert "took too long" in str(failed)
    settings.ALERT_SMS_URL = api.twilio_url.replace(str(api.port), str(free_port()))
    failed = failure()
    assert not failed.perhaps_sent
    assert "No connection" in str(failed)
    assert "refused" in str(failed)


@pytest.mark.parametrize(
    "url",
    [
        "twilio://",
        "twilio://AC123:token@+12025550100/{to}",
        f"twilio://{ACCOUNT_SID}@+12025550100/{{to}}",
        f"twilio://{ACCOUNT_SID}:{AUTH_TOKEN}@+12025550100/{{to}}?api=http://elsewhere.example",
        f"twilio://{ACCOUNT_SID}:{AUTH_TOKEN}@+12025550100/{{to}}?api=file:///etc/passwd",
    ],
)
def test_a_setting_that_cannot_work_stops_the_start_and_shows_no_secret(settings: Settings, url: str) -> None:
    settings.ALERT_SMS_URL = url
    [found] = settings_can_work()
    assert found.id == "notifications.E003"
    assert AUTH_TOKEN not in str(found)
    failed = failure()
    assert "ALERT_SMS_URL" in str(failed)
    assert AUTH_TOKEN not in str(failed)


def test_a_setting_that_works_is_not_complained_of(settings: Settings, api: SmsProvider) -> None:
    assert settings_can_work() == []
    assert twilio.Settings.read(f"twilio://{ACCOUNT_SID}:{AUTH_TOKEN}@Continuity/").api == twilio.API
