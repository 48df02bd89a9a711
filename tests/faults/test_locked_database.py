"""Somebody holds the database for longer than the product waits for it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from delivery.models import Message
from monitoring.models import Window
from tests.faults.mailpath import MailPath, drains, goes_on, the_books_balance
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, organisation
from tests.support.gateway import Client
from tests.support.mailserver import MailServer
from tests.support.processes import Processes, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        os.environ.get("TEST_DATABASE") == "postgres", reason="is about SQLite's one lock for all"
    ),
]

LONG = os.environ.get("FAULTS") == "long"


def test_clients_are_asked_to_come_back_and_nobody_falls_over(database_url: str, tmp_path: Path) -> None:
    """The clock runs as `tick` without Redis, in one process, so that it can be seen to survive."""
    environment = {
        # With FAULTS=long the 30 seconds of the product.
        "DJANGO_SETTINGS_MODULE": "continuity_site.settings" if LONG else "tests.faults.impatient_settings",
        "REDIS_URL": f"unix://{tmp_path}/nobody.sock",
        "REDIS_AWAY_SECONDS": "0",
    }
    with MailServer() as server, Processes(tmp_path / "data") as processes:
        world = organisation(server.port, window_seconds=2)
        path = MailPath(processes, database_url, **environment)
        path.start()
        path.start("tick")
        with PatientSenders(path.smtp_port, ADDRESSES, 3) as senders:
            goes_on(senders, server)
            wait_until(lambda: Window.objects.filter(monitor=world.monitor).exists(), "it watches", 30)
            other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=30)
            with Client(path.smtp_port) as client:
                client.socket.settimeout(60)
                other.execute("BEGIN IMMEDIATE")
                try:
                    before = Message.objects.count()
                    for command in ("MAIL FROM:<b@else.example>", f"RCPT TO:<{ADDRESSES[0]}>", "DATA"):
                        assert client.ask(command)[0] in "23", "reading goes on"
                    client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                    assert client.reply().startswith("451 4.3.0")
                    wait_until(lambda: "away" in path.running["courier"].log(), "the courier ran into it", 60)
                    wait_until(lambda: "locked" in path.running["tick"].log(), "the clock ran into it", 60)
                    assert Message.objects.count() == before
                finally:
                    other.execute("ROLLBACK")
                    other.close()
                assert client.mail(b"Message-ID: <afterwards@else.example>\r\n\r\nx\r\n.\r\n", ADDRESSES[0])
            free_at = timezone.now()
            goes_on(senders, server)
            judged = Window.objects.filter(monitor=world.monitor, end__gt=free_at)
            wait_until(judged.exists, "it watches again", 30)
        drains()
        assert path.alive()
        senders.tries["<afterwards@else.example>"] = 1
        the_books_balance(senders, server, world)
