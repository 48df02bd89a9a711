"""The portal in a real browser at the size of a phone, with JavaScript off: every action by its button."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, ViewportSize
from pytest_django.live_server_helper import LiveServer

from accounts.models import AuditEntry
from events import services, tokens
from events.models import ContinuityEvent, ManageLink
from tests.events.conftest import World, mail_waits, make_world

PHONE: ViewportSize = {"width": 375, "height": 667}
SMALL: ViewportSize = {"width": 320, "height": 568}
WIDE: ViewportSize = {"width": 1280, "height": 800}
SCREENS: list[tuple[ViewportSize, Literal["light", "dark"]]] = [
    (SMALL, "dark"),
    (WIDE, "light"),
    (WIDE, "dark"),
    (PHONE, "dark"),
    (PHONE, "light"),
]


@pytest.fixture
def world(transactional_db: None) -> World:
    world = make_world()
    world.account.name = "Example Ltd"
    world.account.save()
    since = timezone.now() - timedelta(minutes=14)
    world.fails(since, failing_since=since - timedelta(minutes=10))
    mail_waits(world, 7, since)
    services.tick(timezone.now())
    return world


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    try:
        yield context.new_page()
    finally:
        context.close()


def address(server: LiveServer, world: World) -> str:
    now = timezone.now()
    link = ManageLink.objects.create(
        account=world.account, contact=world.maria, created_at=now, expires_at=now + timedelta(hours=24)
    )
    return f"{server.url}/m/{tokens.make(link)}/"


def press(page: Page, name: str) -> str:
    """Press the button (or link) of this accessible name; the text of the page that follows."""
    control = page.get_by_role("button", name=name, exact=True).or_(
        page.get_by_role("link", name=name, exact=True)
    )
    control.click()
    page.wait_for_load_state()
    shot(page, name)
    return page.inner_text("body")


def shot(page: Page, name: str) -> None:
    """A picture of the page, where SCREENSHOTS names a directory."""
    directory = os.environ.get("SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"portal-{name.lower().replace(' ', '-')}.png", full_page=True)


def test_every_button_does_what_it_says(live_server: LiveServer, world: World, page: Page) -> None:
    page.goto(address(live_server, world))
    shot(page, "first")
    assert "Inactive" in page.inner_text("section[aria-labelledby=mode]")

    assert "Noted that you have seen this" in press(page, "I have seen this")
    assert "Seen by Maria" in page.inner_text("body")

    assert "Continuity mode activated" in press(page, "Activate for 4 hours")
    assert "Active until" in page.inner_text("section[aria-labelledby=mode]")
    assert "?done=" in page.url
    assert page.request.get(page.url).ok

    assert "Continuity mode extended" in press(page, "Extend by 1 hour")
    event = ContinuityEvent.objects.get()
    assert event.ends_at - event.starts_at == timedelta(hours=5)

    page.get_by_label("Everyone").check()
    assert "Notifications suspended" in press(page, "Suspend for 2 hours")
    assert "Suspended for everyone" in page.inner_text("section[aria-labelledby=alerts]")

    assert "Inbound deliveries paused" in press(page, "Pause inbound deliveries")
    assert "Inbound deliveries resumed" in press(page, "Resume inbound deliveries")

    assert "End continuity mode?" in press(page, "Stop continuity mode…")
    assert ContinuityEvent.objects.get().state == "active"
    assert "Continuity mode was ended." in press(page, "End continuity mode now")
    assert "Inactive" in page.inner_text("section[aria-labelledby=mode]")

    actions = list(
        AuditEntry.objects.filter(by="contact").order_by("number").values_list("action", flat=True)
    )
    assert actions == [
        "outage.acknowledged",
        "event.activated",
        "event.extended",
        "notifications.suspended",
        "pause.started",
        "pause.ended",
        "event.stopped",
        "checklist.opened",
    ]


def test_back_and_reload_do_no_harm(live_server: LiveServer, world: World, page: Page) -> None:
    page.goto(address(live_server, world))
    press(page, "Activate for 1 hour")
    page.reload()
    page.go_back()
    page.go_forward()
    assert "Continuity mode activated" in page.inner_text("body")
    page.go_back()
    shot(page, "back")
    page.reload()
    assert "Active until" in page.inner_text("section[aria-labelledby=mode]")
    assert AuditEntry.objects.filter(action__startswith="event.").count() == 1


def test_a_page_grown_old_is_refused_with_the_present_state(
    live_server: LiveServer, world: World, page: Page, browser: Browser
) -> None:
    url = address(live_server, world)
    page.goto(url)
    other = page.context.new_page()
    other.goto(url)
    press(other, "Activate for 8 hours")
    text = press(page, "Activate for 2 hours")
    shot(page, "refused")
    assert "Not done" in text
    assert "already active until" in text
    assert page.get_by_role("button", name="Extend by 1 hour").is_visible()


def test_it_fits_and_can_be_hit(live_server: LiveServer, world: World, browser: Browser) -> None:
    context = browser.new_context(viewport=PHONE, reduced_motion="reduce")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("requestfailed", lambda request: problems.append(request.url))
    try:
        page.goto(address(live_server, world))
        measured(page, "inactive")
        page.get_by_role("button", name="Activate for 4 hours").click()
        page.wait_for_load_state()
        measured(page, "active")
        page.get_by_role("button", name="Pause inbound deliveries").click()
        page.wait_for_load_state()
        measured(page, "paused")
        page.get_by_role("link", name="Stop continuity mode…").click()
        page.wait_for_load_state()
        measured(page, "stop")
    finally:
        context.close()
    assert problems == []


def measured(page: Page, state: str) -> None:
    """Nothing is cut off or too small for a thumb, on small and large screens, light and dark."""
    for viewport, scheme in (
        (SMALL, "dark"),
        (WIDE, "light"),
        (WIDE, "dark"),
        (PHONE, "dark"),
        (PHONE, "light"),
    ):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        shot(page, f"{state}-{viewport['width']}-{scheme}")
        width, height, small = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight,"
            " [...document.querySelectorAll('button, a.button, label.option')].filter(e => {"
            " const b = e.getBoundingClientRect(); return b.height < 48 || b.width < 44 || b.left < 0"
            " || b.right > innerWidth }).map(e => e.innerText)]"
        )
        assert small == []
        assert width == viewport["width"]
        assert viewport is SMALL or height < 3 * 667, "three thumb-lengths"


def test_focus_is_seen_and_every_control_has_a_name(
    live_server: LiveServer, world: World, browser: Browser
) -> None:
    context = browser.new_context(viewport=PHONE, reduced_motion="reduce")
    page = context.new_page()
    try:
        page.goto(address(live_server, world))
        names = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return [e.tagName, e.getAttribute('aria-label') || e.closest('label')?.innerText"
                " || e.innerText, s.outlineStyle, parseFloat(s.outlineWidth)] })()"
            )
            if focused[0] == "BODY":
                break
            assert focused[1].strip(), focused
            assert focused[2] != "none"
            assert focused[3] >= 2
            names.add(focused[1].strip())
        assert {
            "Activate for 24 hours",
            "Pause inbound deliveries",
            "Just me",
            "Suspend for 8 hours",
        } <= names
        assert page.locator("main").count() == page.locator("h1").count() == 1
        for section in page.locator("section").all():
            heading = section.get_attribute("aria-labelledby")
            assert page.locator(f"h2#{heading}").count() == 1
    finally:
        context.close()
