"""Transports: each in one file, one function `send(message) -> str`, one contract.

A transport hands one rendered message to one provider, outside any transaction, within 75 s, and returns
the provider's words. It raises `TemporaryFailure` or `PermanentFailure`, and nothing else. It logs neither
content nor address. docs/transports.md says how one is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.utils.module_loading import import_string


class TemporaryFailure(Exception):  # noqa: N818
    """Not now, through no fault of the address. The message is the provider's words, or ours.

    `perhaps_sent`: the provider had the whole message and never answered, so that it may have arrived.
    `retry_after`: the seconds that the provider asked for before anything else is sent to it.
    `everybody`: the reason is not this message, such as a provider that is away; it would meet any other.
    """

    def __init__(
        self,
        words: str,
        *,
        perhaps_sent: bool = False,
        retry_after: float | None = None,
        everybody: bool = False,
    ) -> None:
        super().__init__(words)
        self.perhaps_sent = perhaps_sent
        self.retry_after = retry_after
        self.everybody = everybody


class PermanentFailure(Exception):  # noqa: N818
    """This address will never work: the contact point is disabled with these words as the reason."""


@dataclass(frozen=True)
class Rendered:
    """One message, ready to go. `text` is the whole text of an SMS or app notification."""

    account_id: int
    message_id: str
    to: str
    channel: str
    subject: str
    text: str
    html: str = ""


Transport = Callable[[Rendered], str]

# Named by path and loaded at first use: apprise alone takes a quarter of a second. By channel, and where it
# has several by the scheme of ALERT_SMS_URL or of the app's own address; the empty one is for all others.
_TRANSPORTS = {
    ("email", ""): "notifications.transports.smtp.send",
    ("sms", "twilio"): "notifications.transports.twilio.send",
    ("sms", ""): "notifications.transports.apprise_.send_sms",
    ("app", "webhook"): "notifications.transports.webhook.send",
    ("app", "webhook+http"): "notifications.transports.webhook.send",
    ("app", ""): "notifications.transports.apprise_.send_app",
}
_DEMO = "notifications.transports.demo.send"


def transport_for(channel: str, *, is_demo: bool) -> Transport:
    """The transport for a contact point's channel. Nothing of a demo account leaves the machine."""
    demo: Transport = import_string(_DEMO)
    return demo if is_demo else _send


def _send(message: Rendered) -> str:
    url = settings.ALERT_SMS_URL if message.channel == "sms" else message.to
    scheme = url.partition("://")[0].lower()
    path = _TRANSPORTS.get((message.channel, scheme)) or _TRANSPORTS[message.channel, ""]
    transport: Transport = import_string(path)
    return transport(message)


@contextmanager
def kept_open() -> Iterator[None]:
    """While inside, what this thread sends by SMTP goes over one connection, reopened when it is lost."""
    from notifications.transports import smtp  # it imports what is above

    with smtp.kept_open():
        yield
