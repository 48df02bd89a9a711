"""TLS with real certificates, and signing in to a mail server: never in the clear, never half."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accounts import secrets
from accounts.models import Account
from delivery.courier import client
from delivery.models import Attempt, NextHop
from tests.support.certificates import Authority, self_signed
from tests.support.couriers import all_delivered, eventually, make_hop, queue, running_courier
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer(tls=True) as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """Trusted by this machine while the test runs."""
    authority = Authority.new()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))
    client._context.cache_clear()
    yield authority
    client._context.cache_clear()


def hop_over(account: Account, server: MailServer, **host: object) -> NextHop:
    hop = make_hop(account, server)
    hop.route.hosts.update(hostname="localhost", **host)
    return hop


Certificate = Callable[[Authority], ssl.SSLContext]

BAD: dict[str, tuple[Certificate, str]] = {
    "expired": (lambda authority: authority.context(days=-1), "certificate has expired"),
    "wrong name": (lambda authority: authority.context("mail.elsewhere.example"), "Hostname mismatch"),
    "self-signed": (lambda authority: self_signed(), "self-signed certificate"),
    "unknown authority": (
        lambda authority: Authority.new("Stranger").context(),
        "in certificate chain",
    ),
}


@pytest.mark.parametrize("policy", ["opportunistic", "required", "verified"])
def test_a_certificate_of_a_trusted_authority_is_good_for_every_policy(
    account: Account, server: MailServer, authority: Authority, policy: str
) -> None:
    server.certify(authority.context("localhost"))
    queue(hop_over(account, server, tls=policy))
    with running_courier():
        (message,) = server.wait_for(1)
        eventually(all_delivered, "delivered")
    assert message.tls


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("policy", ["opportunistic", "required"])
def test_without_verifying_any_certificate_keeps_listeners_out(
    account: Account, server: MailServer, authority: Authority, kind: str, policy: str
) -> None:
    server.certify(BAD[kind][0](authority))
    queue(hop_over(account, server, tls=policy))
    with running_courier():
        (message,) = server.wait_for(1)
    assert message.tls


@pytest.mark.parametrize("kind", BAD)
def test_verified_refuses_a_bad_certificate_and_says_what_is_bad(
    account: Account, server: MailServer, authority: Authority, kind: str
) -> None:
    certificate, words = BAD[kind]
    server.certify(certificate(authority))
    hop = hop_over(account, server, tls="verified")
    queue(hop)
    with running_courier():
        eventually(Attempt.objects.exists, "an attempt")
        assert not server.messages
        attempt = Attempt.objects.earliest("pk")
        assert (attempt.result, attempt.stage) == ("host_failure", "starttls")
        assert attempt.reply.startswith("The certificate cannot be trusted")
        assert words in attempt.reply
        server.certify(authority.context("localhost"))
        eventually(all_delivered, "delivered once it is good")


@pytest.mark.parametrize("offered", ["AUTH PLAIN LOGIN", "AUTH LOGIN"])
def test_the_courier_signs_in_where_the_route_says_so(
    account: Account, server: MailServer, offered: str
) -> None:
    server.users, server.auth = {"relay": "pässword"}, offered
    queue(
        hop_over(
            account, server, tls="required", username="relay", sealed_password=secrets.encrypt("pässword")
        )
    )
    with running_courier():
        server.wait_for(1)
        eventually(all_delivered, "delivered")


def test_a_wrong_password_is_a_failure_of_the_host_not_of_the_mail(
    account: Account, server: MailServer
) -> None:
    server.users = {"relay": "right"}
    hop = hop_over(
        account, server, tls="required", username="relay", sealed_password=secrets.encrypt("wrong")
    )
    queue(hop)
    with running_courier():
        eventually(Attempt.objects.exists, "an attempt")
        attempt = Attempt.objects.earliest("pk")
        assert (attempt.result, attempt.stage, attempt.code) == ("host_failure", "auth", 535)
        hop.route.hosts.update(sealed_password=secrets.encrypt("right"))
        eventually(all_delivered, "delivered with the right one")
    assert not [command for command in server.commands if "wrong" in command]


@pytest.mark.parametrize("policy", ["opportunistic", "required"])
def test_a_password_is_never_sent_in_the_clear(account: Account, policy: str) -> None:
    with MailServer(extensions=("AUTH PLAIN LOGIN",), users={"relay": "right"}) as server:
        queue(
            hop_over(account, server, tls=policy, username="relay", sealed_password=secrets.encrypt("right"))
        )
        with running_courier():
            eventually(Attempt.objects.exists, "an attempt")
        assert not [command for command in server.commands if command.startswith("AUTH")]
    assert Attempt.objects.earliest("pk").stage == "starttls"


def test_a_password_sealed_with_another_key_says_so(account: Account, server: MailServer) -> None:
    server.users = {"relay": "right"}
    queue(
        hop_over(account, server, tls="required", username="relay", sealed_password="gAAAAA-of-another-key")
    )
    with running_courier():
        eventually(Attempt.objects.exists, "an attempt")
    attempt = Attempt.objects.earliest("pk")
    assert (attempt.stage, "SECRET_KEY has changed" in attempt.reply) == ("auth", True)
