"""Signing in by a real OpenID Connect provider: who is let in, and every way in which somebody is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from accounts.models import Account, AuditEntry, Membership, User
from tests.support.oidc import CLIENT, SECRET, Provider, oidc_provider

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider, settings: Settings) -> Provider:
    settings.OIDC_ISSUER, settings.OIDC_NAME = running.issuer, "Example login"
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT, SECRET
    running.claims = {"email": "Sam@example.org", "email_verified": True}
    return running


@pytest.fixture
def sam() -> User:
    user = User.objects.create_user("sam", email="sam@example.org")
    account = Account.objects.create(name="Ours", slug="ours")
    Membership.objects.create(user=user, account=account, role=Membership.Role.SUPPORT)
    return user


def come_back(provider: Provider, client: Client, **query: str) -> str:
    """Through the provider, to the page where that ends."""
    there = client.get("/sign-in/oidc/", query).headers["Location"]
    back = provider.sign_in(there)
    assert back.startswith("http://127.0.0.1:8000/sign-in/oidc/back/?")
    return client.get(back).headers["Location"]


def test_whoever_the_provider_knows_is_signed_in(provider: Provider, sam: User) -> None:
    client = Client()
    assert "Sign in by Example login" in client.get("/sign-in/").content.decode()
    assert come_back(provider, client, next="/queue/") == "/queue/"
    assert client.get("/queue/").status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_name, entry.details) == ("user.signed_in", "sam", {"by": "oidc"})


def test_the_second_factor_is_asked_for_here_as_well(provider: Provider, sam: User) -> None:
    TOTPDevice.objects.create(user=sam, confirmed=True)
    client = Client()
    assert come_back(provider, client) == "/sign-in/code/"
    assert client.get("/queue/").status_code == 302
    TOTPDevice.objects.all().delete()
    Membership.objects.update(role=Membership.Role.ADMINISTRATOR)
    assert come_back(provider, client) == "/"
    assert client.get("/").headers["Location"] == "/sign-in/second-factor/"


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": "true"},
        {"email": ""},
        {"email": "stranger@example.org"},
        {"email": "twice@example.org"},
        {"email": "gone@example.org"},
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"nonce": "another"},
    ],
)
def test_whoever_is_not_proven_to_be_a_user_stays_outside(
    provider: Provider, sam: User, claims: dict[str, Any]
) -> None:
    for name in ("twice1", "twice2"):
        User.objects.create_user(name, email="twice@example.org")
    User.objects.create_user("gone", email="gone@example.org", is_active=False)
    provider.claims |= claims
    client = Client()
    assert come_back(provider, client, next="//evil.example/") == "/sign-in/"
    assert "_auth_user_id" not in client.session
    assert User.objects.count() == 4, "nobody is made by signing in"


def test_a_way_back_counts_once_in_the_browser_that_set_out(provider: Provider, sam: User) -> None:
    client, other = Client(), Client()
    assert come_back(provider, client, next="//evil.example/") == "/"
    for browser in (client, other):
        browser.get("/sign-in/oidc/")
    client.post("/sign-out/")
    there = client.get("/sign-in/oidc/").headers["Location"]
    back = provider.sign_in(there)
    assert other.get(back).headers["Location"] == "/sign-in/", "its state is another one"
    assert client.get(back).headers["Location"] == "/"
    client.post("/sign-out/")
    assert client.get(back).headers["Location"] == "/sign-in/"


def test_a_provider_that_is_away_or_another_leaves_the_password(
    provider: Provider, sam: User, settings: Settings
) -> None:
    settings.OIDC_ISSUER = provider.issuer + "/"
    client = Client()
    page = client.get("/sign-in/oidc/", follow=True).content.decode()
    assert "Signing in by Example login did not work. Try again, or use your password." in page
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert client.get("/sign-in/oidc/").headers["Location"] == "/sign-in/"
    settings.OIDC_ISSUER = ""
    assert client.get("/sign-in/oidc/").status_code == 404
    assert "Sign in by" not in client.get("/sign-in/").content.decode()
