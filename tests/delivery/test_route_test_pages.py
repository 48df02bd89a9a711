"""The pages of a route's tests: who may start one, and what is shown of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from django_rq import get_queue, get_worker

from accounts.models import AuditEntry, Membership
from accounts.services import Actor
from delivery.models import NextHop, RouteTest
from delivery.routetest.runner import run_host
from delivery.services import route_tests
from tests.site.pages import make_user
from tests.support.couriers import make_account, make_hop
from tests.support.mailserver import HANG, MailServer
from tests.support.processes import Processes, wait_until

SAM = Actor(AuditEntry.By.USER, "Sam")
pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def hop(server: MailServer) -> NextHop:
    return make_hop(make_account(), server, name="Head office")


def signed_in(hop: NextHop, role: Membership.Role) -> Client:
    client = Client()
    client.force_login(make_user("maria", hop.route.account, role))
    return client


@pytest.fixture
def administrator(hop: NextHop) -> Client:
    return signed_in(hop, Membership.Role.ADMINISTRATOR)


def page_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_from_the_button_to_the_result_through_a_worker(
    hop: NextHop, administrator: Client, server: MailServer
) -> None:
    get_queue(route_tests.QUEUE).empty()  # type: ignore[no-untyped-call]
    address = f"/settings/routes/{hop.route_id}/test/"
    assert "never tested" in page_of(administrator, address)
    posted = {"recipient": "anna@acme.example", "send_message": "on", "request_key": "one"}
    response = administrator.post(address, posted)
    result = response.headers["Location"]
    assert administrator.post(address, posted).headers["Location"] == result, "a double click is one test"
    waiting = page_of(administrator, result)
    assert 'data-live="1"' in waiting
    assert "Waiting for its turn" in waiting

    worker = get_worker(route_tests.QUEUE)
    worker.work(burst=True)

    done = page_of(administrator, result)
    assert 'data-live="1"' not in done
    for words in ("220 test.example ESMTP", "queued as", "does not offer STARTTLS", "Passed, with remarks"):
        assert words in done
    assert "Did the test message arrive?" in done
    assert len(server.messages) == 1
    confirmed = administrator.post(f"{result}arrived/", {"next": result}, follow=True).content.decode()
    assert "Maria found the test message" in confirmed
    assert "Did the test message arrive?" not in confirmed
    assert AuditEntry.objects.filter(action="route.tested", actor_name="Maria").count() == 1
    assert "Passed, with remarks" in page_of(administrator, address)


def test_a_worker_that_is_killed_leaves_what_it_had_found(
    hop: NextHop, administrator: Client, server: MailServer, database_url: str, tmp_path: Path
) -> None:
    get_queue(route_tests.QUEUE).empty()  # type: ignore[no-untyped-call]
    server.reply("ehlo", HANG)
    address = f"/settings/routes/{hop.route_id}/test/"
    result = administrator.post(address, {"recipient": "anna@acme.example"}).headers["Location"]
    with Processes(tmp_path, DATABASE_URL=database_url) as processes:
        run = f"from delivery.routetest.jobs import run; run({RouteTest.objects.get().pk}, 0)"
        worker = processes.manage("worker", "shell", "-v", "0", "-c", run)
        server.wait_until(lambda: any(one.startswith("EHLO") for one in server.commands), 30, "EHLO")
        wait_until(lambda: len(RouteTest.objects.get().steps) == 3, "three steps written")
        worker.kill()
    page = page_of(administrator, result)
    assert "220 test.example ESMTP" in page
    assert 'data-live="1"' in page
    with time_machine.travel(timezone.now() + route_tests.RUNS + timedelta(seconds=1), tick=False):
        page = page_of(administrator, result)
        assert "Interrupted" in page
        assert "220 test.example ESMTP" in page
        server.behave()
        again = administrator.post(address, {"recipient": "anna@acme.example"}).headers["Location"]
        assert again != result
    get_queue(route_tests.QUEUE).empty()  # type: ignore[no-untyped-call]


def test_support_reads_and_starts_nothing(hop: NextHop) -> None:
    test = route_tests.start(hop.route, SAM, "anna@acme.example", here=True)
    run_host(test.pk, 0)
    client = signed_in(hop, Membership.Role.SUPPORT)
    address = f"/settings/routes/{hop.route_id}/test/"
    assert "Start the test" not in page_of(client, address)
    assert "Test again" not in page_of(client, f"{address}{test.pk}/")
    assert client.post(address, {"recipient": "anna@acme.example"}).status_code == 403
    assert client.post(f"{address}{test.pk}/arrived/").status_code == 403
    assert RouteTest.objects.count() == 1


def test_what_another_account_tests_is_not_there(hop: NextHop, server: MailServer) -> None:
    theirs = make_hop(make_account("theirs"), server)
    test = route_tests.start(theirs.route, SAM, "anna@theirs.example", here=True)
    client = signed_in(hop, Membership.Role.ADMINISTRATOR)
    address = f"/settings/routes/{theirs.route_id}/test/"
    assert client.get(address).status_code == 404
    assert client.post(address, {"recipient": "anna@theirs.example"}).status_code == 404
    assert client.get(f"{address}{test.pk}/").status_code == 404
    assert client.get(f"/settings/routes/{hop.route_id}/test/{test.pk}/").status_code == 404
    assert client.post(f"{address}{test.pk}/arrived/").status_code == 404


def test_a_mistake_is_said_and_starts_nothing(hop: NextHop, administrator: Client) -> None:
    address = f"/settings/routes/{hop.route_id}/test/"
    assert "Enter a valid email" in administrator.post(address, {"recipient": "anna"}).content.decode()
    page = administrator.post(address, {"recipient": "anna@elsewhere.example"}, follow=True)
    assert "is not a domain of this account" in page.content.decode()
    assert not RouteTest.objects.exists()


def test_an_interrupted_test_says_so(hop: NextHop, administrator: Client) -> None:
    now = timezone.now()
    for begun, words, ago in ((True, "is gone", 6), (False, "No worker took this test up", 3)):
        test = route_tests.start(
            hop.route, SAM, "anna@acme.example", here=True, now=now - route_tests.WAITS * ago
        )
        if begun:
            RouteTest.objects.filter(pk=test.pk).update(state="running")
        page = page_of(administrator, f"/settings/routes/{hop.route_id}/test/{test.pk}/")
        assert "Interrupted" in page
        assert words in page
        assert 'data-live="1"' not in page


def test_a_hostile_server_writes_nothing_into_the_page(
    hop: NextHop, administrator: Client, server: MailServer
) -> None:
    server.reply("ehlo", "250-<script>alert(1)</script>\r\n250 <b>X\x1b[2J")
    server.reply("rcpt", "550 5.1.1 <img src=x>\x00")
    test = route_tests.start(hop.route, SAM, "anna@acme.example", here=True)
    run_host(test.pk, 0)
    page = page_of(administrator, f"/settings/routes/{hop.route_id}/test/{test.pk}/")
    assert "&lt;img src=x&gt;" in page
    for raw in ("<script>alert", "<img src=x", "<b>X", "\x1b", "\x00"):
        assert raw not in page
