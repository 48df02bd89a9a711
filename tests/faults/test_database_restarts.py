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

from delivery.models import Recipient
from monitoring.models import Window
from tests.faults.databases import PrivatePostgres, migrate, used_by_this_test
from tests.faults.mailpath import goes_on, the_books_balance
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
    with PrivatePostgres() as postgres:
        migrate(postgres.url, tmp_path)
        host = postgres.url.partition("host=")[2]
        options = {**connection.settings_dict["OPTIONS"], "host": host}
        with used_by_this_test(django_db_blocker, NAME="postgres", HOST="", OPTIONS=options):
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
                    client.ask("RSET")
                    client.ask("MAIL FROM:<b@else.example>")
                    # Known from before for some seconds; then nobody can say whether the address is ours.
                    answer = client.ask(f"RCPT TO:<{ADDRESSES[0]}>")
                    if answer.startswith("250"):
                        assert client.ask("DATA").startswith("354")
                        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                        answer = client.reply()
                    assert answer.startswith("451 4.3.0")
                    assert healthz(site.url) == (503, "failed")
                    postgres.start()
                    back_at = timezone.now()
                    goes_on(senders, server)
                    wait_until(lambda: healthz(site.url) == (200, "ok"), "pages are served", 30)
                    judged = Window.objects.filter(monitor=world.monitor, end__gt=back_at)
                    wait_until(judged.exists, "it watches again", 30)
            wait_until(lambda: not Recipient.objects.waiting().exists(), "the queue is drained", 30)
            now = site.children()
            assert {name: now.get(name) for name in EVERYTHING} == {n: before[n] for n in EVERYTHING}
        the_books_balance(senders, server, world)
