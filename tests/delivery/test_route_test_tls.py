"""Testing a route: its encryption, and signing in."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accounts import secrets
from delivery.models import Route
from delivery.routetest.steps import Stage
from tests.delivery.tested import Run, stages, step
from tests.support.certificates import Authority, self_signed
from tests.support.couriers import make_account, make_hop
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture
def secure() -> Iterator[MailServer]:
    with MailServer(tls=True) as server:
        yield server


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that this machine trusts for the time of a test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    return authority


def host_of(secure: MailServer, tls: str) -> Route:
    route = make_hop(make_account("tls"), secure).route
    route.hosts.update(hostname="localhost", tls=tls)
    return route


@pytest.mark.parametrize("tls", ["opportunistic", "required", "verified"])
def test_a_valid_certificate(secure: MailServer, trusted: Authority, run: Run, tls: str) -> None:
    secure._context = trusted.context(days=90.5)
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert (found["result"], found["problem"]) == ("ok", "")
    assert found["facts"]["trusted"] is True
    assert found["facts"]["names"] == ["localhost"]
    assert found["facts"]["issuer"] == "Test Authority"
    assert found["facts"]["chain"] == ["localhost", "Test Authority"]
    assert found["facts"]["days"] == 90
    assert found["facts"]["protocol"] == "TLSv1.3"
    assert secure.sessions == 1, "one connection is enough"
    assert test.result == "ok"


BAD: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str]] = {
    "expired": (lambda authority: authority.context(days=-3), "certificate_expired"),
    "wrong name": (lambda authority: authority.context("other.example"), "certificate_name"),
    "self-signed": (lambda _authority: self_signed(), "certificate_self_signed"),
    "unknown issuer": (lambda _authority: Authority.new("Stranger").context(), "certificate_unknown"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("tls", ["opportunistic", "verified"])
def test_a_bad_certificate(secure: MailServer, trusted: Authority, run: Run, kind: str, tls: str) -> None:
    make, problem = BAD[kind]
    secure._context = make(trusted)
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert found["problem"] == problem
    assert found["said"]
    assert "trusted" not in found["facts"]
    assert found["facts"]["names"] == ["other.example" if kind == "wrong name" else "localhost"]
    assert found["facts"]["days"] == (-3 if kind == "expired" else 89)
    if tls == "verified":
        assert (found["result"], test.result, stages(test)[-1]) == ("failed", "failed", "starttls")
    else:
        assert (found["result"], test.result, stages(test)[-1]) == ("warning", "warning", "rcpt")


def test_a_certificate_that_ends_soon(secure: MailServer, trusted: Authority, run: Run) -> None:
    secure._context = trusted.context(days=5.5)
    found = step(run(host_of(secure, "verified"), "anna@tls.example"), Stage.STARTTLS)
    assert (found["result"], found["problem"], found["facts"]["days"]) == (
        "warning", "certificate_expires", 5,
    )  # fmt: skip


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
def test_starttls_that_fails(secure: MailServer, run: Run, tls: str) -> None:
    secure.reply("starttls", "454 4.7.0 TLS not available")
    test = run(host_of(secure, tls), "anna@tls.example")
    found = step(test, Stage.STARTTLS)
    assert (found["problem"], found["said"]) == ("tls_failed", "454 4.7.0 TLS not available")
    expected = ("failed", "starttls") if tls == "required" else ("warning", "rcpt")
    assert (found["result"], stages(test)[-1]) == expected


def test_required_and_not_offered(server: MailServer, run: Run) -> None:
    found = run(host_of(server, "required"), "anna@tls.example").steps[-1]
    assert (found["stage"], found["result"], found["problem"]) == ("starttls", "failed", "tls_missing")


# --- signing in -------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[MailServer]:
    with MailServer(tls=True, users={"relay": "right"}) as server:
        yield server


def signing_in(guarded: MailServer, sealed: str, tls: str = "required") -> Route:
    route = host_of(guarded, tls)
    route.hosts.update(username="relay", sealed_password=sealed)
    return route


def test_signing_in(guarded: MailServer, run: Run) -> None:
    test = run(signing_in(guarded, secrets.encrypt("right")), "anna@tls.example", send_message=True)
    found = step(test, Stage.AUTH)
    assert (found["result"], found["facts"]) == ("ok", {"username": "relay"})
    assert test.steps[-1]["result"] == "ok"
    assert "right" not in str(test.steps)


@pytest.mark.parametrize(
    ("sealed", "offer", "problem"),
    [
        ("wrong", "AUTH PLAIN LOGIN", "auth_refused"),
        ("right", "AUTH GSSAPI", "auth_missing"),
        ("", "AUTH PLAIN", "password_unreadable"),
    ],
)
def test_a_sign_in_that_fails(guarded: MailServer, run: Run, sealed: str, offer: str, problem: str) -> None:
    guarded.auth = offer
    route = signing_in(guarded, secrets.encrypt(sealed) if sealed else "sealed with another key")
    test = run(route, "anna@tls.example")
    last = test.steps[-1]
    assert (last["stage"], last["result"], last["problem"]) == ("auth", "failed", problem)
    assert test.result == "failed"


def test_no_password_in_the_clear(server: MailServer, run: Run) -> None:
    last = run(signing_in(server, secrets.encrypt("right"), "opportunistic"), "anna@tls.example").steps[-1]
    assert (last["stage"], last["result"], last["problem"]) == ("starttls", "failed", "tls_missing")
