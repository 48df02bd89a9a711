"""A contact's phone with the portal open, as far as the test client is one."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

from django.test import Client
from django.utils import timezone

from accounts.models import Contact
from events import tokens
from events.models import ManageLink

HOUR = timedelta(hours=1)
NONCE = re.compile(r'name="nonce" value="([^"]+)"')
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


def make_link(contact: Contact) -> ManageLink:
    now = timezone.now()
    return ManageLink.objects.create(
        account_id=contact.account_id, contact=contact, created_at=now, expires_at=now + 24 * HOUR
    )


class Phone:
    """A contact's browser on their portal page. It sends only what the page's forms hold."""

    def __init__(self, contact: Contact) -> None:
        self.link = make_link(contact)
        self.url = f"/m/{tokens.make(self.link)}/"
        self.client = Client(enforce_csrf_checks=True)
        self.open()

    def open(self, url: str = "") -> str:
        response = self.client.get(url or self.url)
        self.status = response.status_code
        self.html = response.content.decode()
        self.headers = response.headers
        return self.text

    @property
    def text(self) -> str:
        """What is to be read, without markup."""
        body = re.sub(r"<title>.*?</title>|<[^>]+>", " ", self.html, flags=re.S)
        return " ".join(unescape(body).split()).replace(" .", ".").replace(" ,", ",")

    def form(self, **values: str) -> dict[str, str]:
        hidden = {"nonce": NONCE.search(self.html), "csrfmiddlewaretoken": CSRF.search(self.html)}
        return {name: found[1] for name, found in hidden.items() if found} | values

    def press(self, action: str, form: dict[str, str] | None = None, **values: str) -> str:
        response = self.client.post(f"{self.url}{action}/", form or self.form(**values), follow=True)
        self.status, self.html, self.headers = (
            response.status_code,
            response.content.decode(),
            response.headers,
        )
        self.redirects: list[tuple[str, int]] = response.redirect_chain
        return self.text
