"""A route's test in a real browser: its steps appear by themselves, and the button comes when it is over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import AuditEntry
from accounts.services import Actor
from delivery.models import RouteHost, RouteTest
from delivery.routetest.runner import run_host
from delivery.services import route_tests
from tests.browser.test_console import WIDE, open_console, world
from tests.site.pages import World
from tests.support.mailserver import MailServer

__all__ = ["world"]  # the fixture


def test_the_steps_appear_without_a_reload(browser: Browser, live_server: LiveServer, world: World) -> None:
    with MailServer() as server:
        RouteHost.objects.filter(route=world.route).update(hostname="127.0.0.1", port=server.port)
        recipient = f"postmaster@{world.domain.name}"
        actor = Actor(AuditEntry.By.USER, "Maria")
        test = route_tests.start(world.route, actor, recipient, here=True)
        page = open_console(browser, live_server, WIDE)
        page.goto(f"{live_server.url}/settings/routes/{world.route.pk}/test/{test.pk}/")
        expect(page.locator("#state")).to_have_text("Waiting for its turn")
        expect(page.get_by_role("button", name="Test again")).to_have_count(0)
        page.evaluate("window.notReloaded = true")
        with ThreadPoolExecutor(1) as worker:  # Playwright's loop has this thread
            worker.submit(run_host, test.pk, 0).result()
            worker.submit(connections.close_all).result()
        expect(page.locator("#hosts")).to_contain_text("220 test.example ESMTP")
        expect(page.locator("#state")).to_have_text("Passed, with remarks")
        expect(page.get_by_role("button", name="Test again")).to_be_visible()
        assert page.evaluate("window.notReloaded") is True
        expect(page.locator("[data-live='1']")).to_have_count(0)
        page.close()
    assert RouteTest.objects.get(pk=test.pk).state == RouteTest.State.DONE
