"""PostgreSQL is stopped and started under load: nothing else is restarted, and nothing is lost."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from monitoring.models import Window
from tests.faults.databases import PrivatePostgres, for_others, migrate, options_for, used_by_this_test
from tests.faults.mailpath import drains, goes_on, puts_off, the_books_balance
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, installation, organisation
from tests.support.gateway import Client
from tests.support.mailserver import MailServer
from tests.support.processes import wait_until

pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") != "postgres", reason="is about PostgreSQL: TEST_DATABASE=postgres"
)

LONG = os.environ.get("FAULTS") == "long"
ROUNDS = 20 if LONG else 1
EVERYTHING = {"gateway", "courier", "web", "alerts", "checks", "checks2", "bulk", "tick", "clock"}


@pytest.fixture
def postgres(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[PrivatePostgres]:
    with for_others() as directory, PrivatePostgres(directory) as postgres:
        migrate(postgres.url, tmp_path)
        with used_by_this_test(django_db_blocker, **options_for(postgres.url)):
            yield postgres


def healthz(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as response:
            return response.status, json.load(response)["checks"]["database"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["checks"]["database"]


def test_everything_waits_for_it_and_goes_on(postgres: PrivatePostgres, tmp_path: Path) -> None:
    with MailServer() as server:
        world = organisation(server.port)
        with installation(tmp_path / "data", postgres.url) as site:
            before = site.children()
            assert set(before) >= EVERYTHING
            with PatientSenders(site.smtp_port, ADDRESSES, 4) as senders, Client(site.smtp_port) as client:
                for number in range(ROUNDS):
                    goes_on(senders, server)
                    connection.close()
                    postgres.stop() if number % 2 else postgres.kill()
                    puts_off(client)
                    assert healthz(site.url) == (503, "failed")
                    postgres.start()
                    back_at = timezone.now()
                    goes_on(senders, server)
                    wait_until(lambda: healthz(site.url) == (200, "ok"), "pages are served", 30)
                    judged = Window.objects.filter(monitor=world.monitor, end__gt=back_at)
                    wait_until(judged.exists, "it watches again", 30)
            drains()
            now = site.children()
            assert {name: now.get(name) for name in EVERYTHING} == {n: before[n] for n in EVERYTHING}
        the_books_balance(senders, server, world)
