"""Fixtures of the courier's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounts.models import Account
from delivery.models import NextHop
from tests.support.couriers import make_account, make_hop
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
