"""The mail of the scenarios: ordinary messages, and the odd ones that real senders make.

`kinds()` names the odd ones. Every message has a Message-ID of its own in its first line.
"""

from __future__ import annotations

import random
import re
import smtplib
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from functools import cached_property

LARGE = 20 * 1024 * 1024


@dataclass(frozen=True)
class Letter:
    """A message as it is handed to the gateway: `data` goes over the wire as it is, dots stuffed."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    options: tuple[str, ...] = ()
    kind: str = "plain"

    @cached_property
    def settled(self) -> bytes:
        """The bytes with every line end CRLF: what the gateway stores behind its own lines."""
        return re.sub(rb"\r\n|\r|\n", b"\r\n", self.on_the_wire)

    @property
    def on_the_wire(self) -> bytes:
        """The end of data needs a line end before it."""
        return self.data if self.data.endswith(b"\r\n") else self.data + b"\r\n"

    @cached_property
    def in_mailbox(self) -> bytes:
        """What Postfix makes of it: it puts the empty line where a broken header ends without one."""
        lines = self.settled.split(b"\r\n")
        for number, line in enumerate(lines):
            if not line:
                break
            if not re.match(rb"[!-9;-~]+[ \t]*:", line) and not (number and line[:1] in b" \t"):
                return b"\r\n".join([*lines[:number], b"", *lines[number:]])
        return self.settled


def odd_letters(tag: str, to: Sequence[str], utf8: str | None) -> list[Letter]:
    """One message of each odd kind. `utf8` is a recipient with a non-ASCII local part, if there is one."""
    bodies = {
        "html": _html(),
        "20 MB": _large(),
        "8 bit without MIME": b"Subject: gr\xfc\xdfe \xff\r\n\r\n\xe4\xf6\xfc \x80\x81\x9f\r\n",
        "a line of 300,000 bytes": b"\r\n" + b"0123456789" * 30_000 + b"\r\nend\r\n",
        "a header of 20,000 bytes": b"X-Long: " + b"long word " * 2_000 + b"\r\n\r\nbody\r\n",
        "dots": b"\r\n.\r\n..\r\n...\r\n.dot first\r\nlast.\r\n.\r\n",
        "bare LF": b"Subject: unix\n\nline\n.\n.dot\r\nmixed\n\n",
        "broken header": b"this is no header\r\nSubject: after it\r\n\r\nbody\r\n",
        "an 8 bit header name": b"Gr\xc3\xbc\xc3\x9fe: x\r\n\r\nbody\r\n",
        "empty body": b"Subject: nothing follows\r\n\r\n",
        "no body": b"",
        "trailing space and tabs": b"Subject: spaces \t \r\n\r\n \r\n\t\r\nend \t\r\n\r\n\r\n",
        "from a mailbox file": b"\r\nFrom the start of a line\r\n>From quoted\r\n",
        "unknown charset": b"Content-Type: text/plain; charset=x\r\nSubject: =?x?b?/w==?=\r\n\r\n\xff\r\n",
        "null sender": b"Subject: Undelivered Mail Returned to Sender\r\n\r\nbody\r\n",
    }
    letters = [
        _letter(
            f"{tag}.odd{number}",
            "" if kind == "null sender" else "odd@sender.example",
            (to[number % len(to)],),
            body,
            kind,
            ("BODY=8BITMIME",) if max(body, default=0) > 127 else (),
        )
        for number, (kind, body) in enumerate(bodies.items())
    ]
    if utf8:
        body = "Subject: Grüße an Jürgen\r\n\r\nÄrger über Öl\r\n".encode()
        options = ("SMTPUTF8", "BODY=8BITMIME")
        letters.append(_letter(f"{tag}.utf8", "bjørn@sender.example", (utf8,), body, "SMTPUTF8", options))
    several = _letter(f"{tag}.several", "a@sender.example", tuple(to[:3]), b"\r\nto three\r\n", "several")
    return [*letters, several]


def plain_letters(tag: str, to: Sequence[str], count: int) -> list[Letter]:
    """Ordinary short messages, one recipient each."""
    return [plain_letter(f"{tag}.{number}", to, number) for number in range(count)]


def plain_letter(name: str, to: Sequence[str], number: int) -> Letter:
    head = b"From: <a@sender.example>\r\nSubject: message %d\r\n\r\n" % number
    body = b"some words\r\n" * (number % 50)
    return _letter(name, f"sender{number % 17}@sender.example", (to[number % len(to)],), head + body)


def _letter(
    name: str,
    sender: str,
    recipients: tuple[str, ...],
    rest: bytes,
    kind: str = "plain",
    options: tuple[str, ...] = (),
) -> Letter:
    message_id = f"<{name}@sender.example>"
    return Letter(
        message_id, sender, recipients, f"Message-ID: {message_id}\r\n".encode() + rest, options, kind
    )


def _html() -> bytes:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = "Angebot für Sie"
    message.set_content("Text")
    message.add_alternative("<p>Grüße</p>" * 20, subtype="html")
    return message.as_bytes()


def _large() -> bytes:
    block = random.Random(20).randbytes(LARGE // 200).hex().encode()
    lines = b"\r\n".join(block[start : start + 76] for start in range(0, len(block), 76))
    head = b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\r\n"
    return head + (lines + b"\r\n") * 100


class Senders:
    """Clients that send in parallel, each over one connection; `accepted` fills as 250s come."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self._port, self._clients = port, clients
        self._lock = threading.Lock()
        self.accepted: list[Letter] = []
        self.refused: list[tuple[Letter, int, bytes]] = []

    def send(self, letters: Iterable[Letter]) -> None:
        """Send all; return when each was answered."""
        letters = list(letters)
        parts = [letters[number :: self._clients] for number in range(self._clients)]
        with ThreadPoolExecutor(self._clients) as pool:
            for result in [pool.submit(self._send, part) for part in parts if part]:
                result.result()

    def _send(self, letters: list[Letter]) -> None:
        with smtplib.SMTP("127.0.0.1", self._port, "client.sender.example", timeout=60) as smtp:
            smtp.ehlo()
            for letter in letters:
                code, reply = hand_over(smtp, letter)
                with self._lock:
                    if code == 250:
                        self.accepted.append(letter)
                    else:
                        self.refused.append((letter, code, reply))


def hand_over(smtp: smtplib.SMTP, letter: Letter) -> tuple[int, bytes]:
    """One transaction with the bytes as they are: smtplib's own sendmail() would repair line ends."""
    smtp.command_encoding = "utf-8"
    code, reply = smtp.mail(letter.sender, letter.options)
    for recipient in letter.recipients:
        if code == 250:
            code, reply = smtp.rcpt(recipient)
    if code == 250:
        code, reply = smtp.docmd("DATA")
    if code != 354:
        smtp.rset()
        return code, reply
    assert smtp.sock is not None
    smtp.sock.sendall((b"\r\n" + letter.on_the_wire).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
    return smtp.getreply()


class PatientSenders:
    """Clients that go on whatever happens, as mail servers do: what got no 250 is sent again.

    `tries` counts how often the data of a message was begun, `accepted` holds what got its 250.
    """

    def __init__(self, port: int, to: Sequence[str], clients: int = 2, pause: float = 0.02) -> None:
        self._port, self._to, self._pause = port, to, pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[part]) for part in range(clients)]
        self.accepted: list[Letter] = []
        self.tries: dict[str, int] = {}

    def __enter__(self) -> PatientSenders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, part: int) -> None:
        smtp: smtplib.SMTP | None = None
        for letter in _endless(part, self._to):
            while not self._stop.wait(self._pause):
                try:
                    smtp = smtp or smtplib.SMTP("127.0.0.1", self._port, "client.example", timeout=10)
                    smtp.ehlo_or_helo_if_needed()
                    self.tries[letter.message_id] = self.tries.get(letter.message_id, 0) + 1
                    code, _ = hand_over(smtp, letter)
                except (smtplib.SMTPException, OSError):
                    smtp = None
                    continue
                if code == 250:
                    self.accepted.append(letter)
                    break
            if self._stop.is_set():
                break
        if smtp:
            smtp.close()


def _endless(part: int, to: Sequence[str]) -> Iterator[Letter]:
    number = 0
    while True:
        yield plain_letter(f"part{part}.{number}", to, number)
        number += 1
