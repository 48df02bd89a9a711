"""kill -9 to gateway and courier at random moments under load: a few times, or 200 with `FAULTS=long`."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mailpath import MailPath, drains, flows, in_flight, the_books_balance
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, organisation
from tests.support.mailserver import MailServer
from tests.support.processes import Processes

pytestmark = pytest.mark.django_db(transaction=True)

LONG = os.environ.get("FAULTS") == "long"
KILLS = 200 if LONG else 3
SEED = int(os.environ.get("FAULTS_SEED", "3"))
CLIENTS = 6


@pytest.fixture
def path(database_url: str, tmp_path: Path) -> Iterator[MailPath]:
    with Processes(tmp_path / "data") as processes:
        yield MailPath(processes, database_url)


def test_nothing_is_lost_and_only_what_was_in_flight_comes_twice(path: MailPath) -> None:
    """When they die is told by counts of messages, so that a slow machine is killed at the same places."""
    chance = random.Random(SEED)
    doubtful: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    with MailServer() as server:
        world = organisation(server.port)
        server.reply("end", "", delay=0.02)  # so that there is a moment between the content and its 250
        path.start()
        with PatientSenders(path.smtp_port, ADDRESSES, CLIENTS, pause=0.02) as senders:
            for _ in range(KILLS):
                flows(senders, server, chance.randrange(1, 60))
                victims = chance.choice((("gateway",), ("courier",), ("gateway", "courier")))
                path.kill(victims)
                if "courier" in victims:
                    doubtful.update(in_flight())
                kills.update(victims)
                path.start(*victims)
        server.behave()
        drains()
        assert path.alive()
        the_books_balance(senders, server, world, doubtful)
    assert kills["gateway"]
    assert kills["courier"]
    repeated = sum(count - 1 for count in senders.tries.values())
    copies = len(server.messages) - len(server.count_by_message_id())
    sys.stdout.write(
        f"kills {dict(kills)}; {len(senders.accepted)} accepted, {repeated} tries repeated, {copies} copies\n"
    )
