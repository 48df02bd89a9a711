"""Test mail for the demo: sent to the gateway over SMTP, as anybody's mail server would."""

from __future__ import annotations

import random
import smtplib
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import localtime, make_msgid

from django.conf import settings

SENDERS = ("orders@shop.example", "news@museum.example", "j.weber@partner.example", "billing@power.example")
SUBJECTS = (
    "Invoice for November",
    "Meeting moved to Thursday",
    "Question about your offer",
    "Your order has been sent",
    "Minutes of yesterday",
    "Signed contract",
)
TIMEOUT_SECONDS = 10


def send(recipients: Sequence[str], number: int) -> int:
    """Send `number` messages to the recipients in turn; returns how many the gateway took.

    Raises OSError (smtplib's errors are such) when the gateway cannot be reached or refuses a message.
    """
    host = settings.BIND_ADDRESS if settings.BIND_ADDRESS not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    with smtplib.SMTP(host, settings.SMTP_PORT, timeout=TIMEOUT_SECONDS) as gateway:
        for place in range(number):
            gateway.send_message(_letter(recipients[place % len(recipients)]))
    return number


def _letter(recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender = random.choice(SENDERS)  # noqa: S311  (not a secret)
    message["To"] = recipient
    message["Subject"] = random.choice(SUBJECTS)  # noqa: S311
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
    message.set_content("This is test mail of the Continuity demo.\n")
    return message
