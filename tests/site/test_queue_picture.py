"""The dashboard and an event's page draw the queue over time, and foretell the disk while paused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from accounts.models import Membership
from delivery.models import Pause, QueueSample
from events.models import ContinuityEvent
from tests.site.pages import NOW, World, make_user, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def test_the_picture_is_there_when_something_waited() -> None:
    world: World = make_world("ours")
    client = Client()
    client.force_login(make_user("maria", world.account, Membership.Role.ADMINISTRATOR))
    pages = ("/", f"/events/{world.event.pk}/")
    for page in pages:
        assert b"queue-depth" not in client.get(page).content
    begin = NOW - timedelta(minutes=40)
    ContinuityEvent.objects.filter(pk=world.event.pk).update(starts_at=begin)
    for minutes in range(30):
        QueueSample.objects.create(
            account=world.account,
            at=begin + timedelta(minutes=minutes),
            queued=1000 * minutes,
            delivered=minutes,
            disk_free=10**12 - 10**9 * minutes,
        )
    for page in pages:
        shown = client.get(page).content.decode()
        assert "queue-depth" in shown
        assert "29,000" in shown
    assert "The disk will be full" not in client.get("/").content.decode()
    Pause.objects.update_or_create(
        account=world.account, ended_at=None, defaults={"started_at": NOW, "started_by": "Maria"}
    )
    assert "The disk will be full" in client.get("/").content.decode()
