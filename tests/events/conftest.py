"""An account with a mail server, a monitor and three contacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db.models import F
from django.utils import timezone

from accounts.models import Account, Contact
from delivery.models import Message, NextHop, Recipient, Route
from monitoring.models import Monitor, Outage
from tests.events.phone import Phone

NIGHT = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)
"""In New York that is 22:12 the evening before, in Berlin 04:12."""


@dataclass
class World:
    account: Account
    monitor: Monitor
    maria: Contact
    jo: Contact
    kim: Contact

    def fails(self, at: datetime | None = None, **fields: object) -> Outage:
        """The monitor opens an outage."""
        at = at or timezone.now()
        values = {"failing_since": at, "opened_at": at, "reply": "421 4.3.2 shutting down"} | fields
        Monitor.objects.filter(pk=self.monitor.pk).update(counter=F("threshold"))
        return Outage.objects.create(account=self.account, monitor=self.monitor, **values)


def make_world(slug: str = "acme") -> World:
    account = Account.objects.create(name=slug.title(), slug=slug, time_zone="Europe/Berlin")
    route = Route.objects.create(account=account, name="Exchange")
    monitor = Monitor.objects.create(account=account, description=f"{slug} server", route=route)
    maria, jo, kim = (
        Contact.objects.create(account=account, name=name, time_zone=zone)
        for name, zone in (("Maria", "Europe/Berlin"), ("Jo", "America/New_York"), ("Kim", "UTC"))
    )
    monitor.contacts.set([maria, jo])
    return World(account, monitor, maria, jo, kim)


def mail_waits(world: World, number: int, since: datetime) -> NextHop:
    """So many messages for the monitor's mail server, one each minute from `since`; it is down."""
    assert world.monitor.route
    hop = NextHop.objects.create(route=world.monitor.route, state=NextHop.State.DOWN, state_since=since)
    for minute in range(number):
        at = since + timedelta(minutes=minute)
        message = Message.objects.create(
            account=world.account, accepted_at=at, sender="a@example.org", size=900, client_address="::1"
        )
        Recipient.objects.create(
            message=message,
            next_hop=hop,
            address="b@example.com",
            accepted_at=at,
            next_attempt_at=at,
            expires_at=at + timedelta(hours=96),
        )
    return hop


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def night(world: World) -> Iterator[time_machine.Traveller]:
    """The clock stands at NIGHT."""
    with time_machine.travel(NIGHT, tick=False) as clock:
        yield clock


@pytest.fixture
def phone(world: World, night: time_machine.Traveller) -> Phone:
    """Maria's, while the mail server is down."""
    world.fails(NIGHT)
    return Phone(world.maria)
