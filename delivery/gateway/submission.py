"""Signing in on the submission port: AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), and guessers held off."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from django.contrib.auth.hashers import check_password, make_password

from delivery.gateway.limits import client_network
from delivery.gateway.outbound import Login, Outbound
from delivery.gateway.refusal import Refusal

MOST_FAILURES_OF_A_CLIENT = 10
MOST_FAILURES_OF_A_USER = 20
LOCKED_SECONDS = 900.0
REMEMBERED_SECONDS = 300.0  # a right password is not hashed again for so long
MOST_KEPT = 10_000
LONGEST_NAME = 150  # characters; what the database keeps
THREADS = 1  # a hash takes the better part of a second of a core, by design

WRONG = "535 5.7.8 User name or password not right"
LOCKED = "454 4.7.0 Too many wrong passwords, try again in a quarter of an hour"
_CANCELLED = "501 5.7.0 Sign-in cancelled"
_NOT_UNDERSTOOD = "501 5.5.2 Not understood: base64 is needed"


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class Guard:
    """Counts failed sign-ins by client and by user; over a limit nothing is tried until it has calmed down.

    A user's lock does not hold for clients from which the user has signed in before: guessers elsewhere
    cannot lock them out. In memory, of one process.
    """

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], _Failures] = {}
        self._trusted: dict[tuple[str, str], None] = {}

    def locked(self, client: str, user: str) -> bool:
        if self._count("client", client) >= MOST_FAILURES_OF_A_CLIENT:
            return True
        return self._count("user", user) >= MOST_FAILURES_OF_A_USER and (client, user) not in self._trusted

    def failed(self, client: str, user: str) -> None:
        now = time.monotonic()
        for key in (("client", client), ("user", user)):
            known = self._failures.pop(key, None)
            count = known.count + 1 if known and known.until > now else 1
            self._failures[key] = _Failures(count, now + LOCKED_SECONDS)
        while len(self._failures) > MOST_KEPT:  # the one that failed longest ago
            self._failures.pop(next(iter(self._failures)))

    def succeeded(self, client: str, user: str) -> None:
        self._failures.pop(("client", client), None)
        self._trusted[client, user] = None
        while len(self._trusted) > MOST_KEPT:
            self._trusted.pop(next(iter(self._trusted)))

    def _count(self, kind: str, name: str) -> int:
        known = self._failures.get((kind, name))
        return known.count if known and known.until > time.monotonic() else 0


class Logins:
    """Checks user names and passwords; the hash is computed in a thread."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self.guard = Guard()
        self._threads = ThreadPoolExecutor(THREADS, "gateway-login")
        self._key = secrets.token_bytes(32)
        self._right: dict[str, tuple[str, bytes, float]] = {}
        self._nobody = ""

    async def check(self, address: str, username: str, password: str) -> Login:
        """The user. Raises Refusal; database errors pass through."""
        client, name = client_network(address), username.strip().lower().replace("\0", "")[:LONGEST_NAME]
        if self.guard.locked(client, name):
            raise Refusal(LOCKED)
        login = await self._outbound.login(name)
        if not await self._is_right(login, password):
            self.guard.failed(client, name)
            raise Refusal(WRONG)
        assert login is not None
        self.guard.succeeded(client, name)
        return login

    async def _is_right(self, login: Login | None, password: str) -> bool:
        mac = hmac.digest(self._key, password.encode(), "sha256")
        if login and (known := self._right.get(login.username)):
            encoded, right, until = known
            if encoded == login.password and time.monotonic() < until and hmac.compare_digest(right, mac):
                return True
        loop = asyncio.get_running_loop()
        right_one = await loop.run_in_executor(self._threads, self._hash, login, password)
        if not right_one or login is None:
            return False
        if len(self._right) >= MOST_KEPT:
            self._right.clear()
        self._right[login.username] = (login.password, mac, time.monotonic() + REMEMBERED_SECONDS)
        return True

    def _hash(self, login: Login | None, password: str) -> bool:
        """For nobody it takes as long: names cannot be found out by the time it takes."""
        if login is None:
            self._nobody = self._nobody or make_password(secrets.token_hex())
        return check_password(password, login.password if login else self._nobody) and login is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def plain(answer: str) -> tuple[str, str]:
    """User name and password of a PLAIN response. Raises Refusal."""
    parts = decoded(answer).split("\0")
    if len(parts) != 3 or (parts[0] and parts[0] != parts[1]):
        raise Refusal(_NOT_UNDERSTOOD)
    return parts[1], parts[2]


def decoded(answer: str) -> str:
    """The text of a base64 response; `=` is the empty one. Raises Refusal."""
    if answer == "*":
        raise Refusal(_CANCELLED)
    try:
        return base64.b64decode(answer if answer != "=" else "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Refusal(_NOT_UNDERSTOOD) from None


def prompt(text: str) -> str:
    """A challenge."""
    return f"334 {base64.b64encode(text.encode()).decode()}"
