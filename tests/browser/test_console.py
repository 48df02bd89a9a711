"""The console in a real browser: widths, schemes, keyboard, live parts, every action by its button."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Membership
from delivery.models import NextHop, Recipient
from events.models import ContinuityEvent
from tests.site import pages
from tests.site.pages import World, make_user, make_world

WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 375, "height": 667}
SCREENS: list[tuple[ViewportSize, Literal["light", "dark"]]] = [(WIDE, "light"), (PHONE, "dark")]


@pytest.fixture
def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(pages, "NOW", timezone.now())
    world = make_world("ours", rows=3)
    make_user("maria", world.account, Membership.Role.ADMINISTRATOR, "pw")
    return world


def open_console(browser: Browser, server: LiveServer, size: ViewportSize, scheme: str = "light") -> Page:
    page = browser.new_page(viewport=size, color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(10_000)
    page.goto(f"{server.url}/sign-in/")
    page.get_by_label("Username").fill("maria")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server.url}/")
    return page


@pytest.fixture
def desk(browser: Browser, live_server: LiveServer, world: World) -> Iterator[Page]:
    page = open_console(browser, live_server, WIDE)
    yield page
    page.close()


@pytest.mark.parametrize(("size", "scheme"), SCREENS)
def test_every_page_fits_and_breaks_no_policy(
    browser: Browser, live_server: LiveServer, world: World, size: ViewportSize, scheme: str
) -> None:
    page = open_console(browser, live_server, size, scheme)
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        for name, address in world.addresses().items():
            page.goto(f"{live_server.url}{address}")
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} scrolls sideways by {wide} px"
            if directory := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=Path(directory) / f"console-{name}-{size['width']}-{scheme}.png")
        assert complaints == []
    finally:
        page.close()


def test_the_dashboard_is_one_screen(desk: Page, world: World) -> None:
    assert desk.evaluate("document.documentElement.scrollHeight") <= 900, "with three of everything"


def test_every_action_by_its_button(desk: Page) -> None:
    def choose(question: str, answer: str) -> None:
        desk.get_by_text(question, exact=True).and_(desk.locator("summary")).click()
        desk.locator("details[open]").get_by_role("button", name=answer, exact=True).click()

    status, mode = desk.get_by_role("status"), desk.locator("#mode")
    choose("Stop", "End continuity mode")
    expect(status).to_contain_text("Continuity mode was ended.")
    expect(mode).to_contain_text("Inactive")
    choose("Activate", "2 h")
    expect(status).to_contain_text("Continuity mode activated")
    expect(mode).to_contain_text("in 1 h 59 min")
    choose("Extend", "1 h")
    expect(status).to_contain_text("Continuity mode extended")
    expect(mode).to_contain_text("in 2 h 59 min")
    choose("Suspend notifications", "4 h")
    expect(status).to_contain_text("Notifications suspended")
    choose("Pause deliveries", "Pause deliveries")
    expect(status).to_contain_text("Inbound deliveries paused")
    expect(desk.locator("#state-line")).to_contain_text("Paused")
    desk.get_by_role("button", name="Resume deliveries").click()
    expect(status).to_contain_text("Inbound deliveries resumed")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_an_open_question_is_on_the_screen(
    browser: Browser, live_server: LiveServer, world: World, size: ViewportSize
) -> None:
    page = open_console(browser, live_server, size)
    try:
        for name in ("extend", "stop", "pause", "suspend"):
            page.locator(f"#{name} summary").click()
            box = page.locator(f"#{name} .sheet").bounding_box()
            assert box
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= size["width"], name
            page.keyboard.press("Escape")
    finally:
        page.close()


def test_live_parts_follow_and_keep_an_open_question(desk: Page, world: World) -> None:
    desk.locator("#stop summary").focus()
    desk.keyboard.press("Enter")
    expect(desk.locator("#stop")).to_have_attribute("open", "")
    NextHop.objects.filter(route__account=world.account).update(state="up")
    Recipient.objects.filter(message__account=world.account).update(
        state="delivered", final_at=timezone.now()
    )
    expect(desk.locator("#state-line")).to_contain_text("Flowing", timeout=15_000)
    expect(desk.locator("#queue dd").first).to_have_text("0")
    expect(desk.locator("#stop")).to_have_attribute("open", "")
    assert desk.evaluate("document.activeElement.closest('#stop') !== null"), "focus was kept"
    expect(desk.locator("[data-heard]")).to_have_text(re.compile(r"updated \d+ s ago"))
    desk.keyboard.press("Escape")
    expect(desk.locator("#stop")).not_to_have_attribute("open", "")


def test_the_countdown_runs_between_answers(desk: Page, world: World) -> None:
    event = ContinuityEvent.objects.get(account=world.account, state="active")
    event.ends_at = timezone.now() + timedelta(seconds=50)
    event.save()
    desk.reload()
    left = desk.locator("#mode time[data-until]")
    seen = {left.inner_text()}
    desk.wait_for_function(
        "before => document.querySelector('#mode time[data-until]').textContent !== before",
        arg=left.inner_text(),
    )
    seen.add(left.inner_text())
    assert len(seen) == 2
    assert all(re.fullmatch(r"in \d+ s", text) for text in seen)


def test_the_first_tab_skips_to_the_page(desk: Page) -> None:
    desk.goto(desk.url + "queue/")
    desk.keyboard.press("Tab")
    expect(desk.get_by_role("link", name="Skip to the page")).to_be_focused()
    desk.keyboard.press("Enter")
    expect(desk.locator("main")).to_be_focused()


def test_everything_works_without_javascript(browser: Browser, live_server: LiveServer, world: World) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=PHONE)
    try:
        page = context.new_page()
        page.goto(f"{live_server.url}/sign-in/")
        page.get_by_label("Username").fill("maria")
        page.get_by_label("Password").fill("pw")
        page.get_by_role("button", name="Sign in").click()
        page.locator("#extend summary").click()
        page.locator("#extend").get_by_role("button", name="8 h").click()
        assert "Continuity mode extended" in page.get_by_role("status").inner_text()
        page.goto(f"{live_server.url}/queue/")
        page.get_by_label("Subject").fill("subject 2")
        page.get_by_role("button", name="Filter").click()
        assert "subject=subject+2" in page.url
        expect(page.locator("tbody tr")).to_have_count(1)
    finally:
        context.close()
