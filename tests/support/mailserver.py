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
from tests.support.smtp_session import CLOSE, HANG, Received, Rule, Session

__all__ = ["CLOSE", "HANG", "MailServer", "Received"]


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
