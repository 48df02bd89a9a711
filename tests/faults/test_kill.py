"""kill -9 to every process while mail flows, the mail server dies and contacts are alerted.

Short by default. `FAULTS=long` makes ten rounds and kills in a different order in each.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db.models import F

from delivery.models import Message, Recipient
from delivery.reads import reconcile_account
from events.models import ContinuityEvent
from monitoring.models import Outage
from notifications import rules as notification_rules
from notifications.models import Notification
from tests.scenarios.mail import PatientSenders
from tests.scenarios.world import ADDRESSES, CONTACTS, Installation, Phone, World, installation, organisation
from tests.support.mailserver import MailServer
from tests.support.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

LONG = os.environ.get("FAULTS") == "long"
VICTIMS = ("gateway", "courier", "redis", "web", "checks", "alerts", "clock")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def relay() -> Iterator[MailServer]:
    with MailServer() as relay:
        yield relay


@pytest.fixture
def world(database_url: str, server: MailServer) -> World:
    return organisation(server.port)


@pytest.fixture
def site(world: World, relay: MailServer, database_url: str, tmp_path: Path) -> Iterator[Installation]:
    relay_url = f"smtp://127.0.0.1:{relay.port}"
    with installation(tmp_path / "data", database_url, ALERT_EMAIL_URL=relay_url) as site:
        yield site


@dataclass
class Story:
    """One round after another of a good day, a bad day and a recovery, with kills in each."""

    site: Installation
    server: MailServer
    relay: MailServer
    world: World
    senders: PatientSenders
    kills: Counter[str] = field(default_factory=Counter)

    def kill(self, *names: str) -> None:
        for name in names:
            self.site.kill(name)
            self.kills[name] += 1

    def good_day(self, victims: Iterable[str]) -> None:
        """Whatever is killed, mail goes on being accepted and delivered."""
        for victim in victims:
            self.kill(victim)
            goes_on(self.senders, self.server)

    def bad_day(self) -> Phone:
        """Each contact is alerted once, though who does it is killed amid it. Maria acts on it."""
        self.relay.reply("end", "", delay=1, times=1)
        begun = data_commands(self.relay)
        told = Notification.objects.filter(kind="outage", state="sent").count()
        self.server.stop()
        wait_until(lambda: self.world.state() == "down", "the route is down")
        wait_until(lambda: data_commands(self.relay) > begun, "an alert is on its way", 30)
        self.kill("alerts", "redis")
        time_passes_for_what_was_being_sent()
        sent = Notification.objects.filter(kind="outage", state="sent")
        wait_until(lambda: sent.count() == told + len(CONTACTS), "each contact is alerted", 30)
        phone = Phone(link_to(self.relay, CONTACTS["Maria"]))
        self.kill("web")
        self.site.wait_until_ready()
        assert "Continuity mode activated" in phone.press("activate", hours="1")
        self.kill("courier", "gateway")
        accepted = len(self.senders.accepted)
        wait_until(lambda: len(self.senders.accepted) > accepted + 20, "mail is accepted while it is down")
        assert self.world.state() == "down"
        return phone

    def recovery(self, phone: Phone) -> None:
        """It comes back, and the courier is killed amid the drain."""
        delivered = len(self.server.messages)
        self.server.start()
        wait_until(lambda: len(self.server.messages) > delivered + 5, "the queue drains", 20)
        self.kill("courier")
        goes_on(self.senders, self.server)
        wait_until(lambda: self.world.state() == "up", "the route is up", 30)
        wait_until(lambda: not Outage.objects.filter(closed_at=None).exists(), "the outage closes", 30)
        phone.open()
        phone.follow("stop")
        assert "Continuity mode was ended" in phone.press("stop")
        wait_until(outbox_is_empty, "everybody is told", 30)


def test_kills_lose_no_mail_and_repeat_no_alert(
    site: Installation, server: MailServer, relay: MailServer, world: World
) -> None:
    with PatientSenders(site.smtp_port, ADDRESSES) as senders:
        story = Story(site, server, relay, world, senders)
        for number in range(10 if LONG else 1):
            victims = random.Random(number).sample(VICTIMS, len(VICTIMS)) if LONG else VICTIMS
            story.good_day(victims)
            story.recovery(story.bad_day())
    wait_until(lambda: not Recipient.objects.waiting().exists(), "the queue is drained", 30)
    nothing_is_lost(senders, server, world, story.kills)
    no_slot_twice(relay)
    assert not Notification.objects.exclude(state="sent").exists()
    assert not ContinuityEvent.objects.filter(state="active").exists()


def test_a_power_cut_loses_nothing(site: Installation, server: MailServer, world: World) -> None:
    with PatientSenders(site.smtp_port, ADDRESSES) as senders:
        wait_until(lambda: len(server.messages) > 20, "mail flows")
        server.stop()
        wait_until(lambda: Recipient.objects.waiting().count() > 20, "mail waits")
        assert site.up is not None
        site.up.kill()
        site.start()
        accepted = len(senders.accepted)
        wait_until(lambda: len(senders.accepted) > accepted + 10, "mail is accepted again")
        server.start()
        goes_on(senders, server)
    wait_until(lambda: not Recipient.objects.waiting().exists(), "the queue is drained", 30)
    nothing_is_lost(senders, server, world, Counter(gateway=1, courier=1))


def goes_on(senders: PatientSenders, server: MailServer) -> None:
    """Mail is accepted, and mail that was accepted from now on is delivered."""
    accepted = len(senders.accepted)
    wait_until(lambda: len(senders.accepted) > accepted + 5, "mail is accepted", 20)
    newest = senders.accepted[-1].message_id
    wait_until(lambda: server.count_by_message_id()[newest], "it is delivered", 30)


def time_passes_for_what_was_being_sent() -> None:
    """Minutes must pass until a claim counts as left behind: make it older instead of waiting."""
    late = notification_rules.STUCK_AFTER * 2
    Notification.objects.filter(state="sending").update(claimed_at=F("claimed_at") - late)


def data_commands(relay: MailServer) -> int:
    return sum(command.upper() == "DATA" for command in list(relay.commands))


def link_to(relay: MailServer, address: str) -> str:
    alerts = [message for message in relay.messages if address in message.recipients]
    assert alerts
    body = alerts[-1].data.replace(b"=\r\n", b"").replace(b"=3D", b"=").decode()
    link = re.search(r"http://127\.0\.0\.1:\d+/m/[^/\s\"<>]+/", body)
    assert link, body
    return link[0]


def outbox_is_empty() -> bool:
    return not Notification.objects.filter(state__in=("pending", "sending")).exists()


def nothing_is_lost(senders: PatientSenders, server: MailServer, world: World, kills: Counter[str]) -> None:
    """Everything accepted arrived; a second copy has a reason, and there are few."""
    arrived = server.count_by_message_id()
    lost = [letter.message_id for letter in senders.accepted if not arrived[letter.message_id]]
    assert not lost, f"{len(lost)} accepted messages are lost: {lost[:5]}"
    balance = reconcile_account(world.account.pk)
    assert balance.accepted == balance.delivered
    # The gateway has a message twice only if its client had to send it twice.
    stored = Counter(Message.objects.values_list("message_id", flat=True))
    assert all(count <= senders.tries[message_id] for message_id, count in stored.items())
    # The mail server has one twice more only if a courier died, or it was stopped, between 250 and commit.
    repeats = sum(count - stored[message_id] for message_id, count in arrived.items())
    assert 0 <= repeats <= 20 * (kills["courier"] + 1)


def no_slot_twice(relay: MailServer) -> None:
    """The Message-ID of an alert names its notification: none is sent twice, but marked as a repeat."""
    sent = Counter(
        message.header("Message-ID").split(".")[1]
        for message in relay.messages
        if "repeat" not in message.header("Subject").lower()
    )
    assert sent
    assert max(sent.values()) == 1, sent
