"""A mail server on loopback that speaks real SMTP and misbehaves on demand.

    with MailServer() as server:
        server.reply("rcpt", "550 5.1.1 No such user", to="ghost@")      # for ever, where the address matches
        server.reply("end", "451 4.3.0 Try later", times=1)              # once
        server.reply("data", HANG)                                       # never answers
        server.reply("body", CLOSE)                                      # hangs up amid the content
        server.reply("end", CLOSE, keep=True)                            # keeps it, hangs up instead of 250
        ...
        server.wait_for(3)                                               # three messages or AssertionError
        server.busy_above = 5                                            # further sessions: 451 4.7.1
        server.stop(); server.start()                                    # refused; then the same port

Stages: banner, ehlo, starttls, auth, xclient, mail, rcpt, data, body (content is coming), end (after the
dot), rset.
Everything runs in a thread of its own; all methods may be called from any thread. The first rule that
matches wins; without one the answer is friendly.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.support.certificates import self_signed

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


@dataclass
class MailServer:
    """`extensions` are the EHLO lines; with `tls` STARTTLS is offered with a certificate for localhost.

    With `users` (passwords by name) a client must sign in, as `auth` offers over TLS. `certify` changes
    the certificate. All of 127.0.0.0/8 will do as `address`.
    """

    extensions: tuple[str, ...] = (
        "PIPELINING",
        "SIZE 52428800",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
    )
    tls: bool = False
    users: dict[str, str] = field(default_factory=dict)
    auth: str = "AUTH PLAIN LOGIN"
    busy_above: int = 0
    busy_at: str = "mail"
    port: int = 0
    address: str = "127.0.0.1"
    messages: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: int = 0
    throttled: int = 0
    open_sessions: int = 0
    most_sessions: int = 0
    _rules: list[Rule] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailserver", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[int] = set()
        self._context = self_signed() if self.tls else None

    # --- what tests use ----------------------------------------------------------------------------------

    def __enter__(self) -> MailServer:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def start(self) -> None:
        """Listen; on the same port as before if it was stopped."""
        self._call(self._start())

    def stop(self) -> None:
        """Cut all connections and refuse new ones."""
        self._call(self._stop())

    def reply(
        self,
        stage: str,
        text: str,
        *,
        times: int | None = None,
        to: str = "",
        keep: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Answer `text` at a stage, `times` times (None: always), where the command line contains `to`.

        `delay` is in seconds, before the answer. An empty `text` only delays the friendly answer.
        """
        with self._lock:
            self._rules.append(Rule(stage, text, times, to, keep, delay))

    def certify(self, context: ssl.SSLContext) -> None:
        """Offer STARTTLS with this context from the next connection on."""
        self._context = context

    def is_too_much(self, stage: str, session: int) -> bool:
        """Whether this session is one more than it wants, and this is where it says so; counted."""
        if not self.busy_above or stage != self.busy_at:
            return False
        too_much = sum(other < session for other in self._open) >= self.busy_above
        self.throttled += too_much
        return too_much

    def behave(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def wait_for(self, count: int, seconds: float = 30) -> list[Received]:
        """Wait until `count` messages have arrived; AssertionError at the deadline."""
        self.wait_until(lambda: len(self.messages) >= count, seconds, f"{count} messages")
        return self.messages

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = 30, what: str = "the condition"
    ) -> None:
        """Wait for something about this server; woken at each command and message."""
        deadline = time.monotonic() + seconds
        with self._lock:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"{what} not seen in {seconds} s; {len(self.messages)} messages arrived"
                self._lock.wait(min(left, 0.2))

    def count_by_message_id(self) -> Counter[str]:
        return Counter(message.header("Message-ID") for message in self.messages)

    # --- the server --------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        # Not asyncio's own reuse_address, so that the port stays ours between stop() and start().
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=2**20, backlog=512)

    async def _stop(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with self._lock:
            self.sessions += 1
            self.open_sessions += 1
            self.most_sessions = max(self.most_sessions, self.open_sessions)
            session = self.sessions
            self._open.add(session)
        try:
            await Session(self, reader, writer, session).run()
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            ssl.SSLError,
            asyncio.CancelledError,
            TimeoutError,
        ):
            pass
        finally:
            with self._lock:
                self.open_sessions -= 1
                self._open.discard(session)
                self._lock.notify_all()
            self._tasks.discard(task)
            writer.transport.abort()

    def _rule(self, stage: str, line: str) -> Rule | None:
        with self._lock:
            self.commands.append(line)
            self._lock.notify_all()
            for rule in self._rules:
                if rule.stage == stage and rule.to.lower() in line.lower() and rule.times != 0:
                    if rule.times:
                        rule.times -= 1
                    return rule
        return None

    def _keep(self, message: Received) -> None:
        with self._lock:
            self.messages.append(message)
            self._lock.notify_all()


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
