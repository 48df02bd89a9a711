"""The queue in a real browser: selecting, acting, progress that goes on, on a desk and on a phone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Membership
from delivery.models import BulkAction, Recipient
from delivery.services import queue_actions, queue_steps
from tests.browser.test_console import PHONE, SCREENS, WIDE, open_console
from tests.site import pages
from tests.site.pages import World, make_user, make_world


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(pages, "NOW", timezone.now())
    world = make_world("ours", rows=6)
    make_user("maria", world.account, Membership.Role.ADMINISTRATOR, "pw")
    return world


def held() -> int:
    return Recipient.objects.filter(state="held").count()


def keep(page: Page, name: str, scheme: str) -> None:
    """A picture for people, when asked for; and in any case nothing scrolls sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name} scrolls sideways by {wide} px"
    if directory := os.environ.get("SCREENSHOTS"):
        width = page.evaluate("innerWidth")
        page.screenshot(path=Path(directory) / f"queue-{name}-{width}-{scheme}.png", full_page=True)


@pytest.mark.parametrize(("size", "scheme"), SCREENS)
def test_select_ask_act_and_undo(
    browser: Browser, live_server: LiveServer, world: World, size: ViewportSize, scheme: str
) -> None:
    page = open_console(browser, live_server, size, scheme)
    try:
        page.goto(f"{live_server.url}/queue/")
        boxes = page.locator("#rows input[name=r]")
        boxes.nth(1).check()
        boxes.nth(3).check()
        expect(page.locator("[data-selected]")).to_have_text("2 selected")
        assert page.get_by_role("button", name="Hold", exact=True).is_visible()
        keep(page, "list", scheme)
        page.get_by_role("button", name="Hold", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Hold 2 messages here?")
        keep(page, "ask", scheme)
        page.get_by_label("Reason").fill("waiting for the new certificate")
        page.get_by_role("button", name="Hold", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Hold: 2 messages.")
        assert held() == 2
        keep(page, "action", scheme)
        page.get_by_role("link", name="user1@ours.example").click()
        expect(page.locator("#timeline")).to_contain_text("Hold, by Maria")
        keep(page, "message", scheme)
        page.go_back()
        page.get_by_label("Reason").fill("it is there")
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("status")).to_contain_text("Release: 2 messages.")
        assert held() == 0
        page.goto(f"{live_server.url}/queue/actions/")
        keep(page, "actions", scheme)
        page.goto(f"{live_server.url}/queue/")
        page.get_by_role("checkbox", name="All", exact=True).check()
        page.get_by_role("button", name="Bounce").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Bounce 6 messages to their senders?")
        keep(page, "bounce", scheme)
    finally:
        page.close()


def test_the_list_keeps_still_while_something_is_selected(
    browser: Browser, live_server: LiveServer, world: World
) -> None:
    page = open_console(browser, live_server, WIDE)
    try:
        page.goto(f"{live_server.url}/queue/")
        first = page.locator("#rows input[name=r]").first
        chosen = first.get_attribute("value")
        first.check()
        newest = Recipient.objects.get(pk=str(chosen))
        newest.pk, newest.address = None, "late@ours.example"
        newest.accepted_at = timezone.now()
        newest.save()
        page.evaluate("window.before = document.querySelector('#state-line').outerHTML")
        Recipient.objects.filter(pk=newest.pk).update(state="held")
        with page.expect_response(lambda answer: answer.url.endswith("/queue/"), timeout=15_000):
            pass
        expect(page.locator("#rows input[name=r]").first).to_have_value(str(chosen))
        expect(page.locator("#rows input[name=r]").first).to_be_checked()
        first.uncheck()
        expect(page.locator("#rows tbody tr").first).to_contain_text("late@ours.example", timeout=15_000)
    finally:
        page.close()


def test_progress_goes_on_without_us_and_is_there_after_a_reload(
    browser: Browser, live_server: LiveServer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_actions, "AT_ONCE", 1)
    monkeypatch.setattr(queue_steps, "STEP", 2)
    monkeypatch.setattr(queue_actions, "enqueue", lambda pk: None)  # this test is the worker
    page = open_console(browser, live_server, PHONE)
    try:
        page.goto(f"{live_server.url}/queue/?state=queued")
        page.get_by_role("checkbox", name="All that match").check()
        page.get_by_role("button", name="Hold", exact=True).click()
        page.get_by_label("Reason").fill("moving house")
        page.get_by_role("button", name="Hold", exact=True).click()
        action = BulkAction.objects.latest("pk")
        page.wait_for_url(f"{live_server.url}/queue/actions/{action.pk}/")
        queue_steps.count(action.pk)
        queue_steps.advance(action.pk, timezone.now())
        bar = page.locator("progress")
        expect(bar).to_have_attribute("value", "2", timeout=15_000)
        keep(page, "progress", "light")
        page.reload()
        expect(bar).to_have_attribute("value", "2")
        while queue_steps.advance(action.pk, timezone.now()):
            pass
        expect(page.locator("#progress")).to_contain_text("Done", timeout=15_000)
        expect(bar).to_have_count(0)
        assert held() == 6
    finally:
        page.close()


def test_the_file_comes_as_a_download(browser: Browser, live_server: LiveServer, world: World) -> None:
    page = open_console(browser, live_server, WIDE)
    try:
        page.goto(f"{live_server.url}/queue/{world.message.pk}/")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download .eml").click()
        assert download.value.suggested_filename == f"message-{world.message.pk}.eml"
    finally:
        page.close()
