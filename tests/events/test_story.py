"""From the outage to the button: the alert that arrives carries a link that works."""

from __future__ import annotations

import re

from django.test import Client
from django.utils import timezone

from events import services
from notifications import services as notifications
from notifications.models import ContactPoint, DemoMessage, Notification
from tests.events.conftest import World


def test_the_alert_that_arrives_brings_its_contact_to_the_portal(world: World, client: Client) -> None:
    now = timezone.now()
    world.account.is_demo = True  # its alerts go to the demo inbox
    world.account.save()
    for contact, address in ((world.maria, "maria@example.net"), (world.jo, "jo@example.net")):
        ContactPoint.objects.create(contact=contact, channel="email", address=address, verified_at=now)
    outage = world.fails(now)
    services.tick(now)
    notifications.send_due(now)
    assert set(Notification.objects.values_list("state", flat=True)) == {"sent"}

    letters = {letter.to: letter for letter in DemoMessage.objects.all()}
    links = {to: re.findall(r"https?://\S+/m/(\S+?)/", letter.text) for to, letter in letters.items()}
    assert set(links) == {"maria@example.net", "jo@example.net"}
    (token,) = set(links["jo@example.net"])
    assert token not in links["maria@example.net"], "each has a link of their own"
    page = client.get(f"/m/{token}/").content.decode()
    assert "You are acting as <strong>Jo</strong>" in page
    nonce = re.findall(r'name="nonce" value="([^"]+)"', page)[0]
    answer = client.post(f"/m/{token}/activate/", {"hours": "2", "nonce": nonce}, follow=True)
    assert "Continuity mode activated" in answer.content.decode()

    services.tick(timezone.now())
    outage.closed_at = timezone.now()
    outage.save()
    services.tick(timezone.now())
    notifications.send_due(timezone.now())
    to_maria = "\n".join(DemoMessage.objects.filter(to="maria@example.net").values_list("text", flat=True))
    assert re.search(r"Jo activated continuity mode at \d\d:\d\d \w+ until [\w ]*\d\d:\d\d", to_maria)
    to_jo = DemoMessage.objects.filter(to="jo@example.net")
    assert to_jo.count() == 2, "the alert and the recovery, and nothing about what Jo did"
