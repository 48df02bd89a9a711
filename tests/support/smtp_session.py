"""One client of the tests' mail server: the dialogue, with the rules of `mailserver.MailServer` in it."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.mailserver import MailServer

HANG, CLOSE = "hang", "close"


@dataclass(frozen=True)
class Received:
    """One message answered with 250 (or kept by a rule). `data` is without dot-stuffing."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    mail_parameters: str
    rcpt_parameters: tuple[str, ...]
    tls: bool
    session: int
    client: str = ""
    helo: str = ""

    def header(self, name: str) -> str:
        """The first value of a header, or an empty string."""
        found = re.search(
            rb"(?im)^" + name.encode() + rb":[ \t]*([^\r\n]*)", self.data.partition(b"\r\n\r\n")[0]
        )
        return found[1].decode("utf-8", "replace") if found else ""


@dataclass
class Rule:
    stage: str
    text: str
    times: int | None = None
    to: str = ""
    keep: bool = False
    delay: float = 0.0


class Session:
    """One client."""

    def __init__(
        self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.server, self.reader, self.writer, self.number = server, reader, writer, number
        self.secure = False
        self.user = ""
        self.keep = False
        self.client = self.helo = ""
        self._reset()

    async def on_xclient(self, line: str) -> None:
        """As Postfix: the session begins anew, and keeps what it was told of the client."""
        offered = any(extension.startswith("XCLIENT") for extension in self.server.extensions)
        friendly = "220 test.example ESMTP" if offered and not self.client else "550 5.7.0 Not for you"
        if (await self.answer("xclient", line, friendly)).startswith("220"):
            self._reset()
            self.client, self.helo = line.partition(" ")[2], ""

    def _reset(self) -> None:
        self.sender: str | None = None
        self.mail_parameters = ""
        self.recipients: list[str] = []
        self.rcpt_parameters: list[str] = []

    async def answer(self, stage: str, line: str, friendly: str) -> str:
        """Send the scripted or the friendly reply; return its text. Raises ConnectionError to hang up."""
        rule = self.server._rule(stage, line)
        if self.server.is_too_much(stage, self.number):
            rule = Rule(stage, "421 4.7.0 Too many" if stage == "banner" else "451 4.7.1 Too much at once")
        self.keep = bool(rule and rule.keep)
        if rule and rule.delay:
            await asyncio.sleep(rule.delay)
        text = rule.text if rule and rule.text else friendly
        # Before anybody can know: a test that sees a message delivered looks for it here.
        if stage == "end" and (self.keep or text.startswith("250")):
            self.file(self.content)
        if text in (HANG, CLOSE):
            if text == HANG:
                await asyncio.Event().wait()
            raise ConnectionError("asked to hang up")
        if text:
            self.writer.write(text.encode() + b"\r\n")
            await self.writer.drain()
        if text.startswith("421"):
            raise ConnectionError("said 421")
        return text

    async def run(self) -> None:
        if not (await self.answer("banner", "", "220 test.example ESMTP")).startswith("220"):
            return
        while True:
            raw = await self.reader.readline()
            if not raw:
                return
            line = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb = line.split(" ", 1)[0].upper()
            handler = getattr(self, f"on_{verb.lower()}", None)
            if verb == "QUIT":
                self.writer.write(b"221 2.0.0 Bye\r\n")
                await self.writer.drain()
                return
            if handler is None:
                self.writer.write(b"500 5.5.2 What?\r\n")
            else:
                await handler(line)

    async def on_ehlo(self, line: str) -> None:
        self._reset()
        self.helo = line.partition(" ")[2]
        offers = ["test.example", *self.server.extensions]
        if self.client:  # as Postfix, which asks whether the one whom it was told of may say more
            offers = [offer for offer in offers if not offer.startswith("XCLIENT")]
        if self.server._context and not self.secure:
            offers.append("STARTTLS")
        if self.server.users and self.secure:
            offers.append(self.server.auth)
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        await self.answer("ehlo", line, "\r\n".join(lines))

    async def on_starttls(self, line: str) -> None:
        if self.server._context is None:
            await self.answer("starttls", line, "502 5.5.1 Not offered")
        elif (await self.answer("starttls", line, "220 2.0.0 Go ahead")).startswith("220"):
            await self.writer.start_tls(self.server._context)
            self.secure = True

    async def on_auth(self, line: str) -> None:
        """AUTH PLAIN and LOGIN, both with an initial response, as the courier sends them."""
        _, method, first, *_ = [*line.split(" "), ""]
        given = base64.b64decode(first).decode()
        if method.upper() == "LOGIN":
            self.writer.write(b"334 UGFzc3dvcmQ6\r\n")
            password = base64.b64decode((await self.reader.readline()).strip()).decode()
            given = f"\0{given}\0{password}"
        _, user, password = given.split("\0")
        good = self.secure and self.server.users.get(user) == password
        friendly = "235 2.7.0 Welcome" if good else "535 5.7.8 Who are you?"
        if (await self.answer("auth", f"AUTH {method}", friendly)).startswith("235"):
            self.user = user

    async def on_mail(self, line: str) -> None:
        if self.server.users and not self.user:
            self.writer.write(b"530 5.7.0 Sign in first\r\n")
            return
        if not self.helo:
            self.writer.write(b"503 5.5.1 EHLO first\r\n")
        elif (await self.answer("mail", line, "250 2.1.0 Ok")).startswith("250"):
            self._reset()
            self.sender, self.mail_parameters = path_of(line)

    async def on_rcpt(self, line: str) -> None:
        if self.sender is None:
            self.writer.write(b"503 5.5.1 MAIL first\r\n")
        elif (await self.answer("rcpt", line, "250 2.1.5 Ok")).startswith("25"):
            address, parameters = path_of(line)
            self.recipients.append(address)
            self.rcpt_parameters.append(parameters)

    async def on_rset(self, line: str) -> None:
        self._reset()
        await self.answer("rset", line, "250 2.0.0 Ok")

    async def on_noop(self, line: str) -> None:
        await self.answer("noop", line, "250 2.0.0 Ok")

    async def on_data(self, line: str) -> None:
        if not self.recipients:
            self.writer.write(b"503 5.5.1 RCPT first\r\n")
            return
        if not (await self.answer("data", line, "354 Go on")).startswith("354"):
            return
        await self.answer("body", "", "")
        lines = []
        while True:
            part = await self.reader.readuntil(b"\r\n")
            if part == b".\r\n":
                break
            lines.append(part[1:] if part.startswith(b".") else part)
        self.content = b"".join(lines)
        await self.answer("end", "", f"250 2.0.0 Ok: queued as {self.number}")
        self._reset()

    def file(self, data: bytes) -> None:
        self.server._keep(
            Received(
                self.sender or "",
                tuple(self.recipients),
                data,
                self.mail_parameters,
                tuple(self.rcpt_parameters),
                self.secure,
                self.number,
                self.client,
                self.helo,
            )
        )


def path_of(line: str) -> tuple[str, str]:
    """The address between the angle brackets of MAIL or RCPT, and the parameters after it."""
    path, _, parameters = line.partition(":")[2].strip().partition(">")
    return path.lstrip("<"), parameters.strip()
