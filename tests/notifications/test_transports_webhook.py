"""Webhooks against a real server: signed, to where they may go and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import ssl
import time
from pathlib import Path

import pytest
from pytest_django import Settings

from notifications import addresses
from notifications.checks import settings_can_work
from notifications.transports import PermanentFailure, Rendered, TemporaryFailure, http, transport_for
from tests.support.certificates import Authority, self_signed
from tests.support.processes import free_port
from tests.support.sms_provider import SmsProvider, sms_provider

SECRET = "0123456789abcdef"


@pytest.fixture
def here(settings: Settings) -> None:
    settings.WEBHOOK_NETWORKS = ["127.0.0.0/8", "::1"]


def send(url: str) -> str:
    message = Rendered(1, "7.9", url, "app", "Failing since 03:12", "Text")
    return transport_for("app", is_demo=False)(message)


def hook(provider: SmsProvider, scheme: str = "webhook+http", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{SECRET}@{host}:{provider.port}/hooks/mail?team=7"


def failure(url: str) -> TemporaryFailure:
    with pytest.raises(TemporaryFailure) as raised:
        send(url)
    return raised.value


@pytest.mark.usefixtures("here")
def test_it_is_signed_and_its_secret_is_not_sent(provider: SmsProvider) -> None:
    before = int(time.time())
    assert send(hook(provider)) == '200 {"status": "queued"}'
    [got] = provider.received
    assert got.path == "/hooks/mail?team=7"
    assert got.headers["Host"] == f"127.0.0.1:{provider.port}"
    assert json.loads(got.raw) == {"id": "7.9", "subject": "Failing since 03:12", "text": "Text"}
    stamp, _comma, signature = got.headers["Continuity-Signature"].partition(",")
    assert before <= int(stamp.removeprefix("t=")) <= time.time()
    signed = stamp.removeprefix("t=").encode() + b"." + got.raw
    assert signature == f"v1={hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()}"
    assert SECRET not in repr(got)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 429, 500])
def test_only_410_is_for_good(provider: SmsProvider, status: int) -> None:
    provider.status, provider.answer = status, b"<h1>Sorry</h1>"
    provider.headers = {"Location": provider.app_url, "Retry-After": "30"}
    with pytest.raises((TemporaryFailure, PermanentFailure)) as raised:
        send(hook(provider))
    assert raised.type is (PermanentFailure if status == 410 else TemporaryFailure)
    assert str(raised.value) == f"{status} <h1>Sorry</h1>"
    assert getattr(raised.value, "retry_after", 30) == 30
    assert len(provider.received) == 1  # no redirect was followed


@pytest.mark.usefixtures("here")
def test_an_answer_that_breaks_off_after_its_status_is_enough(provider: SmsProvider) -> None:
    provider.promised = 100
    assert send(hook(provider)).startswith("200")


@pytest.mark.usefixtures("here")
def test_silence_is_unknown_and_no_connection_is_not(
    provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    provider.hang()
    assert failure(hook(provider)).perhaps_sent
    assert not failure(f"webhook+http://{SECRET}@127.0.0.1:{free_port()}/").perhaps_sent


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
def test_a_name_without_an_address_is_temporary(host: str) -> None:
    failed = failure(f"webhook://{SECRET}@{host}/")
    assert not failed.perhaps_sent
    assert "No connection" in str(failed)


def test_private_addresses_are_refused_unless_allowed(provider: SmsProvider, settings: Settings) -> None:
    """A name that leads inside is found when it is used: what it led to when it was saved does not count."""
    assert "not allowed: localhost is" in str(failure(hook(provider, host="localhost")))
    with pytest.raises(PermanentFailure, match="WEBHOOK_NETWORKS"):
        send(hook(provider))
    settings.WEBHOOK_NETWORKS = ["10.0.0.0/8"]
    assert "not allowed" in str(failure(hook(provider, host="localhost")))
    # Plain HTTP goes to this machine only, whatever is allowed.
    with pytest.raises(PermanentFailure, match="WEBHOOK_NETWORKS"):
        send(f"webhook+http://{SECRET}@10.1.2.3/")
    assert not provider.received


@pytest.mark.usefixtures("here")
def test_https_is_checked_against_the_name_and_sent_to_the_address_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.new()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    with sms_provider(authority.context("localhost")) as good:
        assert send(hook(good, "webhook", "localhost")).startswith("200")
        assert good.received[0].headers["Host"] == f"localhost:{good.port}"
    contexts: list[ssl.SSLContext] = [
        self_signed("localhost"),
        authority.context("elsewhere.example"),
        authority.context("localhost", days=-1),
    ]
    for context in contexts:
        with sms_provider(context) as bad:
            assert "certificate is not valid" in str(failure(hook(bad, "webhook", "localhost")))
            assert not bad.received


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2a00:1450:4001::1", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("2002:a00:1::", False),
    ],
)
def test_what_belongs_to_the_internet(address: str, public: bool) -> None:
    assert http.is_public(ipaddress.ip_address(address)) == public


@pytest.mark.parametrize(
    "address",
    [
        "webhook://host.example/",
        "webhook://short@host.example/",
        f"webhook://{SECRET}@/",
        f"webhook://{SECRET}@host.example:99999/",
        f"webhook://{SECRET}@[::1/",
        f"webhook://{SECRET}@host.example/#part",
        f"webhook://{SECRET}@127.0.0.1/",
        f"webhook://{SECRET}@169.254.169.254/latest/meta-data/",
        f"webhook://{SECRET}@host.example/a b",
    ],
)
def test_addresses_that_cannot_work_are_not_saved(address: str) -> None:
    with pytest.raises(addresses.Unusable) as raised:
        addresses.cleaned("app", address)
    assert SECRET not in str(raised.value)


def test_an_address_is_saved_and_masked() -> None:
    address = f"webhook://{SECRET}@hooks.example.net:8443/mail?x=1"
    assert addresses.cleaned("app", address) == address
    assert addresses.masked(address) == "webhook://…"


def test_a_network_that_is_none_stops_the_start(settings: Settings) -> None:
    settings.WEBHOOK_NETWORKS = ["10.0.0.0/8", "office"]
    [found] = settings_can_work()
    assert found.id == "notifications.E004"
    assert "office" in found.msg
