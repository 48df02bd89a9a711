"""The editor of texts in a real browser: the preview follows the keys, and nothing breaks the policy."""

from __future__ import annotations

from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from notifications.models import MessageTemplate
from tests.browser.test_console import WIDE, open_console, world  # noqa: F401  (a fixture)
from tests.site.pages import World


def test_the_preview_follows_what_is_typed(
    browser: Browser,
    live_server: LiveServer,
    world: World,  # noqa: F811
) -> None:
    page = open_console(browser, live_server, WIDE)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(f"{live_server.url}/settings/texts/outage/en/")
        preview, subject = page.locator("#preview"), page.get_by_label("Subject")
        expect(preview).to_contain_text("1 segment: ")
        subject.fill("Down: {account} <b>")
        expect(preview).to_contain_text("Down: Ours <b>")
        expect(subject).to_be_focused()
        page.get_by_label("SMS").fill("Шторм {link}")
        expect(preview).to_contain_text("56 of 70 characters")
        subject.press_sequentially(" {nope}")
        expect(preview).to_contain_text("{nope} is not a variable of this message.")
        assert not MessageTemplate.objects.exists()
        with page.expect_popup() as opened:
            page.get_by_role("button", name="Open as a mail program shows it").click()
        expect(opened.value.get_by_role("link", name="Manage event")).to_be_visible()
        opened.value.close()
        subject.fill("Down: {account}")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status")).to_contain_text("Saved.")
        page.get_by_text("Back to the shipped text").and_(page.locator("summary")).click()
        page.get_by_role("button", name="Back to the shipped text").click()
        expect(page.get_by_role("status")).to_contain_text("The shipped texts are back.")
        assert complaints == []
    finally:
        page.close()
