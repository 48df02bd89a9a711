"""What invented mail says: senders, subjects, texts and the replies of mail servers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

# Reserved names only (RFC 2606), and addresses for documentation (RFC 5737).
ORGANISATIONS = (
    ("Nordwind Logistik", "nordwind-logistik.example"),
    ("Alder & Finch", "alderfinch.example"),
    ("Casa Lima", "casalima.example"),
    ("Kestrel Software", "kestrel.example"),
    ("Stadtwerke Auental", "stadtwerke-auental.example"),
    ("Papeterie du Port", "papeterieduport.example"),
    ("Bluefjord Shipping", "bluefjord.example"),
    ("Harbour Dental", "harbourdental.example"),
    ("Tectona Wood", "tectona.example"),
    ("Quill Legal", "quill-legal.example"),
    ("Orchard Bank", "orchardbank.example"),
    ("Meridian Travel", "meridian-travel.example"),
    ("Sunhill School", "sunhill-school.example"),
    ("Fabrica Norte", "fabricanorte.example"),
    ("Lumen Print", "lumenprint.example"),
    ("Weekly Builder", "weeklybuilder.example"),
)
FIRST = (
    *("Aino", "Ana", "Bram", "Carla", "Chen", "Dara", "Emil", "Fatima", "Greta", "Hanna", "Ines", "Jonas"),
    *("Karim", "Lea", "Luca", "Marta", "Mina", "Noah", "Olga", "Pavel", "Rosa", "Samir", "Theo", "Yuki"),
)
LAST = (
    *("Almeida", "Bauer", "Costa", "Dahl", "Eriksen", "Fischer", "Garcia", "Hansen", "Ito", "Jansen"),
    *("Keller", "Lopes", "Meyer", "Novak", "Okoye", "Pereira", "Quinn", "Rossi", "Schmidt", "Tanaka"),
)
LOCAL_PARTS = tuple(
    f"{first}.{last}".lower() for place, first in enumerate(FIRST) for last in LAST[place % 2 :: 2]
)
SUBJECTS = (
    "Invoice {n}",
    "Re: Delivery on {day}",
    "Your order {n} has been shipped",
    "Minutes of the meeting on {day}",
    "Re: Re: Contract draft, version {small}",
    "Question about quotation {n}",
    "Reminder: payment of invoice {n}",
    "Holiday request {day}",
    "Fwd: Photos of the site visit",
    "Re: Lunch on {day}?",
    "Updated price list {year}",
    "Support case {n} was updated",
    "Appointment confirmed for {day}",
    "Newsletter no. {small}",
    "Application as a project manager",
    "Re: Complaint {n}",
    "Weekly report, week {small}",
    "Draft agenda for {day}",
)
SENTENCES = (
    "Thank you for your message.",
    "Please find the details below, and let us know if anything is missing.",
    "The goods left our warehouse this morning and should arrive within two working days.",
    "We have looked into the matter and will come back to you by the end of the week.",
    "Could you confirm the quantity once more before we start production?",
    "The amount is due within thirty days, without deduction.",
    "As agreed on the telephone, the meeting moves to the small room on the second floor.",
    "Our colleague is away until Monday, so I am answering in her place.",
    "If the date does not suit you, any other day of that week is fine with us.",
    "The drawings have changed in two places, both marked in the margin.",
    "We would be glad to welcome you again.",
)
REFUSALS = (
    ("rcpt", 550, "5.1.1 <user>: Recipient address rejected: User unknown in virtual mailbox table"),
    ("rcpt", 550, "5.7.1 Recipient does not accept mail from outside"),
    ("end", 554, "5.7.1 Message refused by content policy"),
    ("rcpt", 552, "5.2.2 Mailbox full, quota exceeded"),
)
DEFERRALS = (
    ("rcpt", 451, "4.7.1 Greylisted, please try again in 60 seconds"),
    ("rcpt", 452, "4.2.2 Mailbox full"),
    ("rcpt", 450, "4.2.0 Mailbox is busy"),
    ("end", 451, "4.3.0 Temporary failure in the content filter"),
)
_KEYS = "BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789"
_LINES = [
    "\r\n".join(random.Random(number).choices(SENTENCES, k=2 + number * 2)).encode()  # noqa: S311
    for number in range(18)
]


@dataclass(slots=True)
class Letter:
    """An invented message. `size` in bytes is what it would have with its attachments."""

    at: datetime
    sender: str
    header_from: str
    subject: str
    message_id: str
    helo: str
    client: str
    authentic: bool
    size: int
    text: bytes

    def content(self, to: str) -> bytes:
        """The message with a Received line, CRLF line ends, 400 to 3,000 bytes."""
        date = format_datetime(self.at)
        head = (
            f"Received: from {self.helo} ([{self.client}])\r\n\tby continuity.localhost with ESMTPS;\r\n"
            f"\t{date}\r\nFrom: {self.header_from}\r\nTo: {to}\r\nSubject: {self.subject}\r\nDate: {date}\r\n"
            f"Message-ID: {self.message_id}\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        return head.encode() + self.text + b"\r\n"


def letter(chance: random.Random, at: datetime, number: int) -> Letter:
    """One message at that time; `number` makes its Message-ID unique."""
    organisation, domain = chance.choice(ORGANISATIONS)
    first, last = chance.choice(FIRST), chance.choice(LAST)
    sender = f"{first}.{last}@{domain}".lower()
    n = chance.randrange(10_000, 99_999)
    subject = chance.choice(SUBJECTS).format(n=n, small=n % 52 + 1, year=at.year, day=f"{n % 28 + 1} {at:%B}")
    return Letter(
        at=at,
        sender="" if n % 97 == 0 else sender,
        header_from=f"{first} {last} ({organisation}) <{sender}>" if n % 3 else f"{first} {last} <{sender}>",
        subject=subject,
        # Begins with the time, as many systems write them.
        message_id=f"<{at:%Y%m%d%H%M%S}.{number:x}.{n}@mail.{domain}>",
        helo=f"mx{n % 3 + 1}.{domain}",
        client=f"198.51.100.{n % 250 + 1}",
        authentic=n % 23 != 0,
        size=int(chance.lognormvariate(9.2, 1.3)) + 900,
        text=_LINES[n % len(_LINES)],
    )


def taken(chance: random.Random) -> str:
    """A mail server's words for a message that it took."""
    return f"2.0.0 Ok: queued as {''.join(chance.choices(_KEYS, k=11))}"
