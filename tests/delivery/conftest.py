"""Fixtures of the tests of delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Account
from accounts.services import SCHEDULER
from delivery.models import NextHop, Route, RouteTest
from delivery.routetest.runner import run_host
from delivery.services import route_tests
from tests.delivery.tested import Run
from tests.support.couriers import make_account, make_hop
from tests.support.dns import DnsServer, dns_server
from tests.support.mailserver import MailServer


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def hop(account: Account, server: MailServer) -> NextHop:
    return make_hop(account, server)


@pytest.fixture
def smart_host() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def run() -> Run:
    """Test a route as the workers would, one host after the other."""

    def tested(route: Route, recipient: str = "anna@acme.example", **options: Any) -> RouteTest:
        test = route_tests.start(route, SCHEDULER, recipient, here=True, **options)
        following: int | None = 0
        while following is not None:
            following = run_host(test.pk, following)
        test.refresh_from_db()
        return test

    return tested


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with dns_server() as server:
        yield server
