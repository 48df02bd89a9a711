"""A monitor tested by a person: both checks at once, shown with the server's words, and no window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from accounts.models import AuditEntry, Membership
from accounts.secrets import encrypt
from accounts.services import Actor, Refused
from delivery.services.sinks import file_mail
from monitoring import services
from monitoring.models import Monitor, Probe, Window
from monitoring.services.testing import RUNS, WAITS
from tests.monitoring.conftest import START, Site
from tests.site.pages import make_user
from tests.support.mailserver import MailServer

SECOND = timedelta(seconds=1)
MARIA = Actor(AuditEntry.By.USER, "Maria")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer(tls=True, users={"probe@example.org": "pw"}) as server:
        yield server


@pytest.fixture
def inside() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def whole(site: Site, inside: MailServer, server: MailServer) -> Site:
    """A monitor with both checks, whose counter stands at 2."""
    site.host(inside.port)
    Monitor.objects.update(
        counter=2,
        outbound_host="localhost",
        outbound_port=server.port,
        outbound_tls="required",
        outbound_username="probe@example.org",
        outbound_sealed_password=encrypt("pw"),
    )
    site.fresh()
    return site


def browser(site: Site, role: Membership.Role = Membership.Role.ADMINISTRATOR) -> Client:
    client = Client()
    client.force_login(make_user(role, site.account, role))
    return client


def look(client: Client, site: Site, after: int = 5) -> str:
    with time_machine.travel(START + after * SECOND, tick=False):
        answer = client.get(f"/monitors/{site.monitor.pk}/test/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_both_checks_are_made_and_shown_and_the_counter_stays(
    whole: Site, inside: MailServer, server: MailServer
) -> None:
    client, address = browser(whole), f"/monitors/{whole.monitor.pk}/test/"
    assert "never tested" in look(client, whole)
    assert f'action="{address}"' in client.get(f"/monitors/{whole.monitor.pk}/").content.decode()
    form = {"request_key": "one", "next": address}
    with time_machine.travel(START + 0.4 * SECOND, tick=False):
        assert "The test was started." in client.post(address, form, follow=True).content.decode()
        assert "nothing was done twice" in client.post(address, form, follow=True).content.decode()
        again = client.post(address, form | {"request_key": "two"}, follow=True).content.decode()
        assert "running already" in again
    waiting = look(client, whole)
    assert waiting.count("Waiting for its turn") == 2
    assert 'data-live="1"' in waiting
    assert "Test now" not in waiting

    inside.reply("rcpt", "451 4.3.0 Mail store is away", to="postmaster@")
    assert services.run_test(whole.monitor.pk, START + SECOND) == 2
    assert services.run_test(whole.monitor.pk, START + SECOND) == 0, "once"
    page = look(client, whole)
    assert "451 4.3.0 Mail store is away" in page
    assert "Test the route step by step" in page
    assert "On its way" in page
    assert 'data-live="1"' in page

    (letter,) = server.messages
    assert letter.recipients == (whole.fresh().sink.address,)  # type: ignore[union-attr]
    file_mail([(whole.monitor.sink_id or 0, letter.data)], START + 5 * SECOND)
    assert services.read_arrivals() == 1
    page = look(client, whole)
    assert "It arrived at this gateway after 4.0 s." in page
    assert "data-live" not in page[page.index('id="checks"') : page.index('id="checks"') + 30]
    assert "Asked by Administrator" in page
    assert (whole.fresh().counter, Window.objects.count()) == (2, 0)

    # Nothing is judged by it: the window knows only its own probes.
    services.judge_due(START + timedelta(minutes=2, seconds=1))
    assert Window.objects.get().verdict == Window.Verdict.UNKNOWN
    assert whole.fresh().counter == 2
    assert AuditEntry.objects.filter(action="monitor.tested", actor_name="Administrator").count() == 1


def test_what_was_not_taken_or_never_came(whole: Site, server: MailServer) -> None:
    client = browser(whole)
    server.reply("auth", "535 5.7.8 No")
    services.start_test(whole.monitor, MARIA, now=START)
    services.run_test(whole.monitor.pk, START)
    page = look(client, whole)
    assert "535 5.7.8 No" in page
    assert "did not take the probe" in page
    Probe.objects.filter(kind=Probe.Kind.TEST_OUTBOUND).update(ok=True, reply="250 queued")
    assert "On its way" in look(client, whole, 120)
    missing = look(client, whole, 121)
    assert "did not arrive within 120 s" in missing
    assert whole.fresh().sink.address in missing  # type: ignore[union-attr]
    Probe.objects.filter(kind=Probe.Kind.TEST_OUTBOUND).update(arrived_at=START + 130 * SECOND)
    assert "after 130.0 s, more than the acceptable 120 s" in look(client, whole, 140)
    services.start_test(whole.monitor, MARIA, now=START + 0.1 * SECOND)
    assert Probe.objects.values("window_start").distinct().count() == 2, "within the same second"
    assert "Earlier tests" in look(client, whole)


def test_a_test_that_nobody_takes_up_or_ends_is_interrupted(whole: Site) -> None:
    client = browser(whole)
    services.start_test(whole.monitor, MARIA, now=START)
    waits = int(WAITS.total_seconds())
    assert "No worker took this test up" not in look(client, whole, waits)
    assert "No worker took this test up" in look(client, whole, waits + 1)
    Probe.objects.filter(kind__in=Probe.TESTS).update(claim="0" * 32)
    runs = int(RUNS.total_seconds())
    assert "Running" in look(client, whole, runs)
    gone = look(client, whole, runs + 1)
    assert "probably by a restart" in gone
    assert "Test now" in gone


def test_who_may_test_and_what_can_be_tested(whole: Site) -> None:
    address = f"/monitors/{whole.monitor.pk}/test/"
    support = browser(whole, Membership.Role.SUPPORT)
    assert support.post(address).status_code == 403
    assert "Test now</button>" not in look(support, whole)
    Monitor.objects.update(route=None, outbound_host="")
    with pytest.raises(Refused, match="watches nothing"):
        services.start_test(whole.fresh(), MARIA)
    assert not Probe.objects.exists()
