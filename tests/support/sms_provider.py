"""A real HTTP provider on loopback, as an SMS service would be: keeps what it got, answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One POST: its path (with the number in it) and its JSON body."""

    path: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.body["message"])


class SmsProvider:
    """What the provider got, and how it answers: `status` and `answer`, or not while `hanging` is set.

    `got` is set when a message was taken, before any answer: the moment in which a sender may die.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Received] = []
        self.status = 200
        self.answer = b'{"status": "queued"}'
        self.content_type = "application/json"
        self.hanging = threading.Event()
        self.got = threading.Event()
        self.go_on = threading.Event()
        self.answer_late = False

    @property
    def sms_url(self) -> str:
        """An ALERT_SMS_URL."""
        return f"json://127.0.0.1:{self.port}/sms/{{to}}"

    @property
    def app_url(self) -> str:
        """The address of a contact point of the channel app."""
        return f"json://user:app-password-0123456789@127.0.0.1:{self.port}/app/"

    def hang(self, *, answer: bool = False) -> None:
        """Take messages and say nothing until `go_on` is set; then hang up, or answer after all."""
        self.answer_late = answer
        self.go_on.clear()
        self.hanging.set()

    def recover(self) -> None:
        self.hanging.clear()
        self.go_on.set()
        self.status = 200


@contextmanager
def sms_provider() -> Iterator[SmsProvider]:
    """A provider on a free port, until the end of the block."""
    state: SmsProvider

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.received.append(Received(self.path, body))
            state.got.set()
            if state.hanging.is_set():
                state.go_on.wait(30)
                if not state.answer_late:
                    return
            self.send_response(state.status)
            self.send_header("Content-Type", state.content_type)
            self.send_header("Content-Length", str(len(state.answer)))
            self.end_headers()
            self.wfile.write(state.answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler)
    state = SmsProvider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
