"""The real gateway on a real socket, in a thread of the test: its database is the test's."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import uvloop

from accounts.models import Account, MailDomain, Person
from delivery.gateway.limits import Limits
from delivery.gateway.server import Gateway
from delivery.models import Message, NextHop, Route
from delivery.services import ensure_next_hop


class RunningGateway:
    """A gateway that serves; `port` and `submission_port` are on 127.0.0.1."""

    gateway: Gateway
    port: int
    submission_port: int

    def __init__(self, limits: Limits) -> None:
        self._ready = threading.Event()
        self._limits = limits
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        assert self._ready.wait(10)
        if self._problem:
            raise self._problem

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as problem:
            self._problem = problem
            self._ready.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self.gateway = Gateway(self._limits)
        self.port = await self.gateway.start("127.0.0.1", 0)
        self.submission_port = await self.gateway.start("127.0.0.1", 0, submission=True)
        self._ready.set()
        await self._stop.wait()
        await self.gateway.stop()

    def call(self, function: Callable[..., Any], *arguments: object) -> None:
        """Run a function in the gateway's loop."""
        self.gateway.loop.call_soon_threadsafe(function, *arguments)

    def begin_stop(self) -> None:
        self.call(self._stop.set)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.begin_stop()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._problem:
            raise self._problem


@contextmanager
def gateway(**limits: Any) -> Iterator[RunningGateway]:
    running = RunningGateway(dataclasses.replace(Limits.from_settings(), **limits))
    try:
        yield running
    finally:
        running.stop()


class Client:
    """A raw SMTP client: it sends the bytes it is told to, and reads whole replies."""

    def __init__(self, port: int, *, ehlo: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""
        if ehlo:
            self.reply()
            self.ask("EHLO client.example")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        """One reply, its lines joined by newline; empty when the server has closed."""
        lines = []
        while True:
            while b"\r\n" not in self._buffer:
                try:
                    chunk = self.socket.recv(65536)
                except ConnectionResetError:
                    return ""
                if not chunk:
                    return ""
                self._buffer += chunk
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            lines.append(line.decode())
            if line[3:4] != b"-":
                return "\n".join(lines)

    def ask(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def mail(self, data: bytes, to: str = "anna@one.example", sender: str = "bob@else.example") -> str:
        """A whole transaction; `data` is sent as it is and needs its own end. The last reply."""
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
            answer = self.ask(command)
            assert answer[0] in "23", answer
        self.send(data)
        return self.reply()


def account(slug: str = "one", *, policy: str = MailDomain.Policy.KNOWN) -> Account:
    """An account with the domain `slug`.example, Anna in it, and an inbound route."""
    made = Account.objects.create(name=slug, slug=slug)
    MailDomain.objects.create(account=made, name=f"{slug}.example", policy=policy)
    Person.objects.create(account=made, name="Anna", address=f"anna@{slug}.example")
    Route.objects.create(account=made, name="mail server")
    return made


def offers(made: Account, *, size: int | None = None, smtputf8: bool = False) -> None:
    """What the account's mail server offered last."""
    hop = ensure_next_hop(Route.objects.get(account=made, kind=Route.Kind.INBOUND))
    NextHop.objects.filter(pk=hop.pk).update(offered_size=size, offered_smtputf8=smtputf8)


def stored() -> list[bytes]:
    """The content of every message without our Received line, oldest first."""
    contents = []
    for message in Message.objects.select_related("content").order_by("pk"):
        head, mark, rest = bytes(message.content.data).partition(b" +0000\r\n")
        assert head.startswith(b"Received: from ")
        assert mark
        contents.append(rest)
    return contents
