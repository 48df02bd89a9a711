"""Who may send to other organisations, set up on a desk and read on a phone."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from delivery.models import SubmissionUser
from tests.browser.test_console import PHONE, WIDE, open_console, world
from tests.site.pages import World

__all__ = ["world"]  # a fixture

SHOTS = os.environ.get("SHOTS")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["desk", "phone"])
def test_a_user_and_a_network_are_added(
    browser: Browser, live_server: LiveServer, world: World, size: object
) -> None:
    page = open_console(browser, live_server, size)  # type: ignore[arg-type]
    page.goto(f"{live_server.url}/settings/")
    page.get_by_role("link", name="Add a user").click()
    page.get_by_label("User name").fill("scanner@ours.example")
    page.get_by_label("Password").fill("correct horse battery staple")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/sender-{page.viewport_size['width']}.png", full_page=True)  # type: ignore[index]
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("link", name="Your own networks").click()
    page.get_by_label("Networks that may send").fill("192.0.2.0/24\n2001:db8::1")
    page.get_by_role("button", name="Save").click()
    sending = page.locator("#sending")
    expect(sending.get_by_text("192.0.2.0/24")).to_be_visible()
    expect(sending.get_by_role("link", name="scanner@ours.example")).to_be_visible()
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/settings-{page.viewport_size['width']}.png", full_page=True)  # type: ignore[index]
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width == 0
    assert SubmissionUser.objects.get().account_id == world.account.pk
    page.close()
