"""The outbound check against a real mail server: a probe goes in at its submission port, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from accounts.models import AuditEntry
from accounts.secrets import encrypt
from delivery import reads
from delivery.models import Message, Recipient, SinkMail
from monitoring import jobs
from monitoring.letters import Mark, letter
from monitoring.models import Monitor, Outage, Probe, Window
from tests.monitoring.conftest import START, WINDOW, Site
from tests.support import postfix
from tests.support.gateway import Client, RunningGateway, gateway
from tests.support.processes import free_port, wait_until

pytestmark = [
    pytest.mark.skipif(not postfix.available(), reason="needs Postfix, Dovecot and root"),
    pytest.mark.django_db(transaction=True),
]

MAILBOX = "continuity@example.com"
GATEWAY = "continuity.localhost"
SECOND = timedelta(seconds=1)


@pytest.fixture
def taking() -> Iterator[RunningGateway]:
    with gateway() as running:
        yield running


def test_a_probe_goes_round_fails_with_the_server_and_goes_round_again(taking: RunningGateway) -> None:
    site = Site()
    Monitor.objects.filter(pk=site.monitor.pk).update(
        inbound=False,
        route=None,
        outbound_host="127.0.0.1",
        outbound_tls=Monitor.Tls.REQUIRED,
        outbound_username=MAILBOX,
        outbound_sealed_password=encrypt(postfix.PASSWORD),
    )
    with (
        postfix.mail_server([MAILBOX], {GATEWAY: taking.port}) as server,
        time_machine.travel(START + SECOND, tick=False) as clock,
    ):
        Monitor.objects.update(outbound_port=server.submission_port)

        def is_back() -> bool:
            return SinkMail.objects.exists() or bool(Probe.objects.latest("window_start").arrived_at)

        def window() -> Window | None:
            """Let a window pass: its probe is sent, and comes back if it is on its way."""
            jobs.tick()
            if Probe.objects.latest("window_start").ok:
                wait_until(is_back, "the probe is back")
            clock.shift(WINDOW)
            jobs.tick()
            return Window.objects.order_by("start").last()

        first = window()
        assert first
        assert (first.verdict, first.source, first.step) == ("success", "round_trip", -1), first.reply
        came = Probe.objects.earliest("window_start")
        assert came.arrived_at
        assert came.reply.startswith("250 2.0.0 Ok: queued as")

        # A copy of it, and one that a stranger made up, count for nothing.
        wait_until(is_back, "the second probe is back")
        jobs.tick()
        address = site.fresh().sink.address  # type: ignore[union-attr]
        mark = Mark(site.monitor.pk, came.window_start, came.nonce)
        copy = letter(mark, sender=MAILBOX, recipient=address, now=START)
        with Client(taking.port) as stranger:
            for mail in (copy, copy.replace(b"ctp1.", b"ctp1.9"), b"Subject: hello\r\n\r\nhello\r\n"):
                assert stranger.mail(mail + b".\r\n", to=address).startswith("250")
            assert stranger.ask("MAIL FROM:<a@else.example>").startswith("250")
            assert stranger.ask(f"RCPT TO:<probe-0000@{GATEWAY}>").startswith("550 5.7.1")
        assert SinkMail.objects.count() == 3
        jobs.tick()
        assert not SinkMail.objects.exists()
        assert Probe.objects.filter(arrived_at__isnull=False).count() == 2

        # Nothing of it is mail of the account.
        assert not Message.objects.exists()
        assert not Recipient.objects.exists()
        assert reads.queue_figures(site.account.pk).queued == 0
        assert reads.reconcile_account(site.account.pk).accepted == 0

        server.stop()
        for _number in range(4):
            last = window()
        assert last
        assert (last.verdict, last.reply) == ("failure", "Connection refused.")
        outage = Outage.objects.get()
        assert (outage.closed_at, outage.reply) == (None, "Connection refused.")

        server.start()
        for _number in range(3):
            window()
        outage.refresh_from_db()
        assert outage.closed_at
        assert list(AuditEntry.objects.values_list("action", flat=True)) == ["outage.opened", "outage.closed"]

        # A wrong password, and another server that listens there: unsendable is a failure, in its words.
        for change, words in (
            ({"outbound_sealed_password": encrypt("wrong")}, "535 5.7.8"),
            ({"outbound_port": server.imap_port}, ""),
            ({"outbound_port": free_port()}, "Connection refused."),
        ):
            Monitor.objects.update(**change)
            clock.shift(WINDOW)
            jobs.tick()
            failed = Probe.objects.latest("window_start")
            assert failed.ok is False
            assert failed.reply.startswith(words)
            assert failed.reply
            assert postfix.PASSWORD not in failed.reply
