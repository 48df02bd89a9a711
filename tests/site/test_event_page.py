"""The figures of an event are its books: by recipient, and they can fail to balance."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from accounts.models import Membership
from delivery.models import Message, NextHop
from tests.site.pages import NOW, World, make_user, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = make_world("ours", demo=False)
    NextHop.objects.update(state=NextHop.State.UP)
    return world


def page(world: World) -> str:
    client = Client()
    with time_machine.travel(NOW + timedelta(days=2), tick=False):
        client.force_login(make_user("maria", world.account, Membership.Role.ADMINISTRATOR))
        return client.get(f"/events/{world.event.pk}/").content.decode()


def test_an_event_whose_mail_is_all_accounted_for_balances(world: World) -> None:
    assert "The books balance." in page(world)


def test_an_event_with_a_lost_recipient_says_so(world: World) -> None:
    Message.objects.update(taken=2)  # one more than there are rows
    assert "These figures do not balance." in page(world)
