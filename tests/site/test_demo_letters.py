"""Test mail of the demo goes the way of all mail: over SMTP, through the gateway's own rules."""

from __future__ import annotations

import socket

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Membership, Person
from delivery.models import Message, Recipient
from tests.site.pages import World, make_user, make_world
from tests.support.gateway import gateway

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world() -> World:
    world = make_world("demo")
    Message.objects.all().delete()
    Person.objects.all().delete()
    for name in ("anna", "ben"):
        Person.objects.create(account=world.account, name=name, address=f"{name}@{world.domain.name}")
    return world


def press(world: World, number: str, role: Membership.Role = Membership.Role.ADMINISTRATOR) -> str:
    client = Client()
    client.force_login(make_user("maria", world.account, role))
    return client.post("/demo/send/", {"number": number}, follow=True).content.decode()


def test_fifty_messages_are_taken_by_the_gateway(world: World, settings: Settings) -> None:
    with gateway() as running:
        settings.SMTP_PORT = running.port
        assert "The gateway took 50 messages." in press(world, "50")
    assert Message.objects.filter(account=world.account).count() == 50
    assert set(Recipient.objects.values_list("address", flat=True)) == {
        f"anna@{world.domain.name}",
        f"ben@{world.domain.name}",
    }


def test_a_gateway_that_is_away_is_told_in_words(world: World, settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        settings.SMTP_PORT = taken.getsockname()[1]
        assert "The gateway did not take the test mail" in press(world, "1")


def test_support_staff_send_nothing(world: World) -> None:
    client = Client()
    client.force_login(make_user("tom", world.account, Membership.Role.SUPPORT))
    assert client.post("/demo/send/", {"number": "1"}).status_code == 403


def test_only_the_demo_account_has_it() -> None:
    world = make_world("ours", demo=False)
    client = Client()
    client.force_login(make_user("maria", world.account, Membership.Role.ADMINISTRATOR))
    assert client.post("/demo/send/", {"number": "1"}).status_code == 404
