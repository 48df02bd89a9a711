"""A real HTTP provider on loopback, as an SMS service would be: keeps what it got, answers as told."""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

ACCOUNT_SID, AUTH_TOKEN = f"AC{'0123456789abcdef' * 2}", "fedcba9876543210" * 2
TAKEN = {"sid": f"SM{'ab' * 16}", "status": "queued", "error_code": None}


def signature(url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature of a receipt, as Twilio's manual describes it."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(AUTH_TOKEN.encode(), signed.encode(), "sha1").digest()).decode()


@dataclass(frozen=True)
class Received:
    """One POST: its path (with the number in it), its body (JSON or a form) and its headers."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes

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
        self.headers: dict[str, str] = {}
        self.promised = 0  # bytes of the answer beyond those that come: it breaks off
        self.endless = False  # the answer goes on for ever
        self.drips = False  # the answer comes byte by byte
        self.hanging = threading.Event()
        self.got = threading.Event()
        self.go_on = threading.Event()
        self.answer_late = False

    @property
    def sms_url(self) -> str:
        """An ALERT_SMS_URL."""
        return f"json://127.0.0.1:{self.port}/sms/{{to}}"

    @property
    def twilio_url(self) -> str:
        """An ALERT_SMS_URL for this provider speaking as Twilio does."""
        return f"twilio://{ACCOUNT_SID}:{AUTH_TOKEN}@+12025550100/{{to}}?api=http://127.0.0.1:{self.port}"

    def answer_as_twilio(self, status: int = 201, code: int = 0, message: str = "") -> None:
        """Take messages, or (with an error code) refuse them, in Twilio's words."""
        said = {"code": code, "message": message, "status": status} if code else TAKEN
        self.status, self.answer = status, json.dumps(said).encode()

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
def sms_provider(context: ssl.SSLContext | None = None) -> Iterator[SmsProvider]:
    """A provider on a free port, until the end of the block; with a context it speaks TLS."""
    state: SmsProvider

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            is_form = self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            body = dict(parse_qsl(raw.decode())) if is_form else json.loads(raw)
            state.received.append(Received(self.path, body, dict(self.headers), raw))
            state.got.set()
            if state.hanging.is_set():
                state.go_on.wait(30)
                if not state.answer_late:
                    return
            self.send_response(state.status)
            self.send_header("Content-Type", state.content_type)
            for name, value in state.headers.items():
                self.send_header(name, value)
            if not state.endless:
                self.send_header("Content-Length", str(len(state.answer) + state.promised))
            self.end_headers()
            for piece in self.pieces():
                self.wfile.write(piece)

        def pieces(self) -> Iterator[bytes]:
            if state.drips:
                for number in range(len(state.answer)):
                    yield state.answer[number : number + 1]
                    state.go_on.wait(0.05)
                return
            yield state.answer
            while state.endless and not state.go_on.is_set():
                yield b"x" * 65536

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
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
