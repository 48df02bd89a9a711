"""What a route may be: not a way back to the gateway, not in and out by one server, no password in sight."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pytest_django import Settings

from accounts import secrets
from accounts.models import Account
from delivery.forms import RouteForm, RouteHosts
from delivery.models import Route, RouteHost
from tests.support.couriers import make_account
from tests.support.dns import dns_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


def errors(account: Account, kind: str = "inbound", route: Route | None = None, **host: Any) -> str:
    """Fill in the page with one host; what it says, or "" when it is saved."""
    route = route or Route(account=account)
    form = RouteForm(account, {"name": "Route", "kind": kind, "max_connections": 5}, instance=route)
    old = route.hosts.first() if route.pk else None
    fields = {"hostname": "mail.example", "port": 25, "tls": "required", "preference": 10} | host
    data: dict[str, object] = {"kind": kind, "h-TOTAL_FORMS": 1, "h-INITIAL_FORMS": 1 if old else 0}
    data |= {f"h-0-{name}": value for name, value in fields.items()}
    if old:
        data["h-0-id"] = old.pk
    hosts = RouteHosts(data, instance=route, prefix="h")
    if not (form.is_valid() and hosts.is_valid()):
        return f"{form.errors} {hosts.errors}"
    hosts.instance = form.save()
    hosts.save()
    return ""


def test_a_name_that_resolves_to_the_gateway_is_refused(account: Account, settings: Settings) -> None:
    settings.BIND_ADDRESS, settings.GATEWAY_NAME = "0.0.0.0", "mx.gateway.example"
    own = socket.gethostbyname(socket.gethostname())
    with dns_server() as dns:
        dns.add("mx.gateway.example", "A", "192.0.2.9")
        dns.add("alias.example", "CNAME", "mx.gateway.example.")
        dns.add("same.example", "A", "192.0.2.9")
        dns.add("own.example", "A", own)
        dns.add("mail.example", "A", "192.0.2.10")
        for host, port in (
            ("mx.gateway.example", 25),
            ("MX.Gateway.Example.", settings.SMTP_PORT),
            ("same.example", 25),
            ("own.example", settings.SMTP_PORT),
            ("localhost", settings.SMTP_PORT),
            ("[::1]", settings.SMTP_PORT),
        ):
            assert "leads back to this gateway" in errors(account, hostname=host, port=port), host
        assert errors(account, hostname="mail.example", port=25) == ""
        assert not Route.objects.exclude(hosts__hostname="mail.example").exists()


def test_a_password_is_kept_encrypted_and_never_shown_again(account: Account) -> None:
    assert errors(account, username="relay", password=" se cret ") == ""
    host = RouteHost.objects.get()
    assert secrets.decrypt(host.sealed_password) == " se cret "
    assert "se cret" not in host.sealed_password
    shown = RouteHosts(instance=host.route, prefix="h").as_p()
    assert "se cret" not in shown
    assert host.sealed_password not in shown
    assert errors(account, route=host.route, username="other") == ""
    host.refresh_from_db()
    assert (host.username, secrets.decrypt(host.sealed_password)) == ("other", " se cret ")
    assert errors(account, route=host.route, username="") == ""
    host.refresh_from_db()
    assert (host.username, host.sealed_password) == ("", "")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"username": "relay"}, "Enter the password"),
        ({"password": "x"}, "needs a user name"),
        ({"username": "relay", "password": "x", "tls": "opportunistic"}, "only sent encrypted"),
    ],
)
def test_half_a_sign_in_is_refused(account: Account, host: dict[str, Any], words: str) -> None:
    assert words in errors(account, **host)


def test_in_and_out_by_one_server_is_refused(account: Account) -> None:
    assert errors(account, hostname="exchange.example") == ""
    inbound = Route.objects.get()
    assert "a way of their own" in errors(account, "outbound", hostname="Exchange.example", port=587)
    assert errors(make_account("other"), "outbound", hostname="exchange.example") == ""
    Route.objects.filter(account=account).update(kind="outbound")
    inbound.refresh_from_db()
    second = Route(account=account, name="x")
    assert "cannot be the watched mail server" in errors(account, route=second, hostname="exchange.example")
