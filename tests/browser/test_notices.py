"""A notice in a real browser: written, looked at, sent, and its progress seen without a reload."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import Account, Person, User
from notifications.bulk import sending
from notifications.bulk.models import Notice
from tests.browser.test_console import PHONE, WIDE, world
from tests.site.pages import World
from tests.support.relay import Relay, relay

__all__ = ["world"]  # the fixture
SHOTS = os.environ.get("SHOTS")


@pytest.fixture
def mail_relay(settings: Settings) -> Iterator[Relay]:
    with ThreadPoolExecutor(1) as starter:  # Playwright's loop has this thread
        context = relay()
        running = starter.submit(context.__enter__).result()
        settings.ALERT_EMAIL_URL = running.url
        yield running
        starter.submit(context.__exit__, None, None, None).result()


def shoot(page: Page, name: str) -> None:
    """With SHOTS set, pictures of the page at both widths in both schemes."""
    if not SHOTS:
        return
    for size in (WIDE, PHONE):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=Path(SHOTS) / f"{name}-{size['width']}-{scheme}.png", full_page=True)
    page.set_viewport_size(WIDE)


def test_a_notice_from_the_first_word_to_the_last_copy(
    browser: Browser, live_server: LiveServer, world: World, mail_relay: Relay, settings: Settings
) -> None:
    Account.objects.update(is_demo=False)
    maria = Client()
    maria.force_login(User.objects.get(username="maria"))  # a real account asks for a second factor
    for n in range(20):
        Person.objects.create(
            account=world.account,
            name=f"Anna Albers {n}",
            address=f"anna{n}@ours0.example",
            alternate_address=f"anna{n}@home.example.net",
        )
    page = browser.new_page(viewport=WIDE)
    session = maria.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}]
    )
    page.goto(f"{live_server.url}/people/")
    shoot(page, "people")
    page.get_by_role("link", name="Write a notice").click()
    page.get_by_role("button", name="Save and look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    page.get_by_label("Subject").fill("Our mail server is being repaired")
    page.get_by_label("Text of the e-mail").fill("Use https://mail.example.org until noon.")
    page.get_by_label("E-mail only").check()
    page.get_by_label("Everybody").check()
    shoot(page, "notice-edit")
    page.get_by_role("button", name="Save and look at it").click()
    expect(page.locator("#reach")).to_contain_text("Not reached")
    expect(page.get_by_text("This notice was sent by Ours.")).to_be_visible()
    shoot(page, "notice-draft")
    page.locator("#start summary").click()
    expect(page.get_by_text("Send to 23 people?")).to_be_visible()
    shoot(page, "notice-ask")
    page.get_by_role("button", name="Send", exact=True).click()
    progress = page.locator("#progress")
    expect(progress).to_contain_text("0 of 23 sent")
    page.evaluate("window.notReloaded = true")
    notice = Notice.objects.get(subject="Our mail server is being repaired")
    mail_relay.at_rcpt = "550 5.1.1 no such user"

    def work(*actions: object) -> None:
        with ThreadPoolExecutor(1) as worker:  # Playwright's loop has this thread
            for action in actions:
                worker.submit(action).result()  # type: ignore[arg-type]
            worker.submit(connections.close_all).result()

    work(lambda: sending.run(notice.pk, timezone.now()))
    expect(page.locator("#count-failed")).to_contain_text("23")
    assert page.evaluate("window.notReloaded") is True
    page.reload()
    shoot(page, "notice-failed")
    mail_relay.recover()
    page.get_by_role("button", name="Try failures again").click()
    shoot(page, "notice-running")
    work(lambda: sending.run(notice.pk, timezone.now()))
    expect(page.locator("#count-sent")).to_contain_text("23")
    expect(page.locator("#state")).to_have_text("Finished")
    page.reload()
    page.locator("#count-sent a").click()
    expect(page.locator("tbody tr")).to_have_count(23)
    shoot(page, "notice-people")
    page.goto(f"{live_server.url}/notices/")
    shoot(page, "notices")
    page.close()
