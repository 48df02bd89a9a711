"""A delivery status notification as bytes (RFC 3464 in the form of RFC 6522; RFC 6533 for UTF-8)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime

from django.utils.translation import gettext as _

from delivery.bounces import words
from delivery.bounces.encoding import folded, from_xtext, is_plain, one_line, quoted_printable, utf8_address
from delivery.bounces.fate import Fate

__all__ = ["Built", "Fate", "Report", "build"]

_SUBJECT_KEPT = 120


@dataclass(frozen=True)
class Report:
    """One report about one message. `header` and `content` are the original's bytes, whatever they are.

    `delayed` makes it a warning, `relayed` a receipt. `content` is given where the sender wants the
    whole message back.
    """

    gateway: str
    message_id: str
    sender: str
    at: datetime
    arrived_at: datetime
    fates: tuple[Fate, ...]
    header: bytes
    content: bytes | None = None
    delayed: bool = False
    relayed: bool = False
    envid: str = ""
    smtputf8: bool = False
    subject: str = ""
    original_id: str = ""

    @property
    def action(self) -> str:
        """As RFC 3464 2.3.3 calls what happened."""
        if self.relayed:
            return "relayed"
        return "delayed" if self.delayed else "failed"


@dataclass(frozen=True)
class Built:
    """The report and what it asks of the servers on its way."""

    data: bytes
    subject: str
    smtputf8: bool
    body_8bit: bool


@dataclass(frozen=True)
class _Part:
    media_type: str
    encoding: str
    body: bytes
    description: str

    def __bytes__(self) -> bytes:
        head = (
            f"Content-Type: {self.media_type}\r\n"
            f"Content-Description: {self.description}\r\n"
            f"Content-Transfer-Encoding: {self.encoding}\r\n\r\n"
        )
        return head.encode("ascii") + self.body


def build(report: Report) -> Built:
    """The report as a message with CRLF line ends. Any original makes a valid one."""
    utf8 = report.smtputf8 and not all(
        text.isascii() for text in (report.sender, *(f.address + f.orcpt for f in report.fates))
    )
    parts = [_human(report), _status(report, utf8=utf8), _original(report)]
    bodies = [bytes(part) for part in parts]
    boundary = secrets.token_hex(16)
    while any(boundary.encode() in body for body in bodies):
        boundary = secrets.token_hex(16)
    eight_bit = any(part.encoding == "8bit" for part in parts)
    subject = _subject(report)
    head = _head(report, subject, boundary, eight_bit=eight_bit)
    data = head + b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), body) for body in bodies)
    data += b"--%s--\r\n" % boundary.encode()
    return Built(data, subject, not head.isascii(), eight_bit)


def _head(report: Report, subject: str, boundary: str, *, eight_bit: bool) -> bytes:
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{report.gateway}>\r\n",
        f"To: {_to(report.sender)}\r\n",
        f"Subject: {_encoded(subject)}\r\n",
        f"Date: {_date(report.at)}\r\n",
        f"Message-ID: {report.message_id}\r\n",
    ]
    original_id = report.original_id
    if original_id.isascii() and original_id.isprintable() and " " not in original_id and original_id:
        lines += [f"In-Reply-To: {original_id}\r\n", f"References: {original_id}\r\n"]
    kind = {"delayed": "warning", "failed": "bounce"}.get(report.action, report.action)
    lines += [
        "Auto-Submitted: auto-replied\r\n",
        f"X-Continuity-Report: {kind}\r\n",
        "MIME-Version: 1.0\r\n",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n',
        f"Content-Transfer-Encoding: {'8bit' if eight_bit else '7bit'}\r\n\r\n",
    ]
    return "".join(lines).encode()


def _encoded(subject: str) -> str:
    return Header(subject, maxlinelen=70, header_name="Subject").encode(linesep="\r\n")


def _to(sender: str) -> str:
    return f"<{sender}>" if sender.isprintable() else "undisclosed-recipients:;"


def _subject(report: Report) -> str:
    about = one_line(report.subject, utf8=True)[:_SUBJECT_KEPT]
    if report.relayed:
        return _("Handed on: %(subject)s") % {"subject": about} if about else _("Mail handed on")
    if not about:
        return _("Delayed mail") if report.delayed else _("Undeliverable mail")
    if report.delayed:
        return _("Delayed: %(subject)s") % {"subject": about}
    return _("Undeliverable: %(subject)s") % {"subject": about}


def _human(report: Report) -> _Part:
    text = words.explanation(
        gateway=report.gateway,
        subject=one_line(report.subject, utf8=True),
        arrived_at=report.arrived_at,
        fates=report.fates,
        delayed=report.delayed,
        relayed=report.relayed,
    )
    body = quoted_printable(text.encode("utf-8", "replace"))
    return _Part("text/plain; charset=utf-8", "quoted-printable", body, "Notification")


def _status(report: Report, *, utf8: bool) -> _Part:
    text = f"Reporting-MTA: dns; {report.gateway}\r\n"
    if report.envid:
        text += folded("Original-Envelope-Id", one_line(from_xtext(report.envid)))
    text += f"Arrival-Date: {_date(report.arrived_at)}\r\n"
    text += "".join("\r\n" + _fields(fate, report, utf8=utf8) for fate in report.fates)
    if utf8:
        body = quoted_printable(text.encode())
        return _Part("message/global-delivery-status", "quoted-printable", body, "Delivery report")
    return _Part("message/delivery-status", "7bit", text.encode("ascii"), "Delivery report")


def _fields(fate: Fate, report: Report, *, utf8: bool) -> str:
    """The fields about one recipient (RFC 3464 2.3)."""
    text = ""
    if fate.orcpt:
        text += folded("Original-Recipient", _original_recipient(fate.orcpt, utf8=utf8))
    text += folded("Final-Recipient", _final_recipient(fate.address, utf8=utf8))
    text += f"Action: {report.action}\r\nStatus: {fate.status}\r\n"
    if fate.remote:
        text += folded("Remote-MTA", f"dns; {one_line(fate.remote)}")
    if fate.words:
        asked = fate.words[:3].isdigit() and (fate.remote or fate.expired or fate.by_hand)
        kind = "smtp" if asked else "x-continuity"
        text += folded("Diagnostic-Code", f"{kind}; {one_line(fate.words, utf8=utf8)}")
    if fate.tried_at:
        text += f"Last-Attempt-Date: {_date(fate.tried_at)}\r\n"
    if report.delayed and fate.retry_until:
        text += f"Will-Retry-Until: {_date(fate.retry_until)}\r\n"
    return text


def _final_recipient(address: str, *, utf8: bool) -> str:
    if address.isascii():
        return f"rfc822; {one_line(address)}"
    return f"utf-8; {one_line(address, utf8=True) if utf8 else utf8_address(address)}"


def _original_recipient(orcpt: str, *, utf8: bool) -> str:
    """As the client gave it (RFC 3461 4.2), without its encoding where the result can stand here."""
    kind, _sep, address = orcpt.partition(";")
    plain = from_xtext(address)
    if not (utf8 or plain.isascii()):
        plain = utf8_address(plain) if kind.lower() == "utf-8" else address
    return f"{one_line(kind)}; {one_line(plain, utf8=utf8)}"


def _original(report: Report) -> _Part:
    """What comes back of the message: all of it where that is wanted and can be, else its header."""
    if report.content is not None and is_plain(report.content, eight_bit=True):
        kind = "global" if report.smtputf8 and not report.header.isascii() else "rfc822"
        encoding = "7bit" if report.content.isascii() else "8bit"
        return _Part(f"message/{kind}", encoding, report.content, "Undelivered message")
    what = "Message header" if report.relayed else "Undelivered message header"
    if is_plain(report.header):
        return _Part("text/rfc822-headers", "7bit", report.header, what)
    kind = "text/rfc822-headers"
    if report.smtputf8 and _is_utf8(report.header):
        kind = "message/global-headers"
    return _Part(kind, "quoted-printable", quoted_printable(report.header), what)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _date(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC))
