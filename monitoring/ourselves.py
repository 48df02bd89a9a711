"""The gateway looks at itself: disk, clock, ways, DNS, own port. Within seconds, whatever hangs.

Collects plain facts; `monitoring.local_rules` says what they mean. No database but for its clock.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import dns.message
import dns.nameserver
import dns.query
import dns.resolver
from django.conf import settings
from django.db import connection

from delivery.dns import FAILURES, resolver
from delivery.ourselves import is_loopback

# Seconds for all looks together, and for one that has to be answered.
LIMIT, ONE = 2.5, 2.0
DNS, RELAY = "dns", "relay"
RELAY_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


def disk() -> tuple[int | None, str, datetime | None]:
    """Bytes free where the data are, why it cannot be written, and its clock when it was."""
    path = settings.DATA_DIR / f".look-{os.getpid()}-{threading.get_ident()}"
    try:
        with path.open("wb") as file:
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
            written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        return shutil.disk_usage(settings.DATA_DIR).free, "", written
    except OSError as error:
        return None, error.strerror or type(error).__name__, None
    finally:
        path.unlink(missing_ok=True)


def clock_off(written: datetime | None) -> timedelta:
    """By how much the clock of this machine, as its disk shows it, is ahead of the database's."""
    if written is None or connection.vendor != "postgresql":
        return timedelta()  # SQLite has this machine's clock
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    return written - theirs


def is_name(host: str) -> bool:
    """Whether the host has to be looked up."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return not is_loopback(host)
    return False


def witnesses() -> dict[str, Callable[[], bool]]:
    """Whom outside this installation uses anyway: each with how it is asked whether it is there."""
    found: dict[str, Callable[[], bool]] = {DNS: dns_answers}
    relay = urlsplit(settings.ALERT_EMAIL_URL)
    host = relay.hostname
    if host and not is_loopback(host):
        port = relay.port or RELAY_PORTS.get(relay.scheme, 25)
        found[RELAY] = lambda: _answers(host, port)
    return found


def look(names: Collection[str], addresses: Collection[str], *, gateway: bool) -> dict[str, Any]:
    """Ask the witnesses, look the names up, and say whether there is a way to where they and `addresses` are.

    The answers by question: `dns`, `relay`, `names` (the addresses found), `ways`, `gateway`. Those that
    did not come in time are missing.
    """
    questions: dict[str, Callable[[], Any]] = dict(witnesses())
    questions |= {f"name {name}": _looking_up(name) for name in names}
    if gateway:
        questions["gateway"] = gateway_answers
    answers = ask(questions)
    found = [address for name in names for address in answers.get(f"name {name}") or ()]
    return answers | {"names": found, "ways": [knows_way(one) for one in {*addresses, *found}]}


def ask(questions: Mapping[str, Callable[[], Any]], limit: float = LIMIT) -> dict[str, Any]:
    """The answers of those that come in time. Who hangs is left behind: no look-up can be broken off."""
    answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def answer(name: str, question: Callable[[], Any]) -> None:
        answers.put((name, question()))

    for name, question in questions.items():
        threading.Thread(target=answer, args=(name, question), daemon=True, name=f"look {name}").start()
    deadline = time.monotonic() + limit
    came: dict[str, Any] = {}
    while len(came) < len(questions):
        try:
            name, value = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        came[name] = value
    return came


def knows_way(address: str) -> bool:
    """Whether the kernel has a way to the address. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        try:
            way.connect((address.partition("%")[0], 25))
        except OSError as error:
            return error.errno not in _NO_WAY
    return True


def dns_answers() -> bool:
    """Whether any DNS server says anything, be it that something does not exist."""
    question = dns.message.make_query(".", "NS")
    try:
        servers = resolver().nameservers
    except FAILURES:
        return False
    for server in servers:
        where, port = (server, 53) if isinstance(server, str) else _place(server)
        try:
            dns.query.udp(question, where, timeout=ONE / max(1, len(servers)), port=port)
        except FAILURES:
            continue
        return True
    return False


def gateway_answers() -> bool:
    """Whether a gateway of this installation greets: that of this machine, or where its name leads."""
    here = settings.BIND_ADDRESS
    if ipaddress.ip_address(here).is_unspecified:
        here = "::1" if ":" in here else "127.0.0.1"
    return _greets(here, settings.SMTP_PORT) or _greets(settings.GATEWAY_NAME, settings.MX_PORT)


def _place(server: dns.nameserver.Nameserver) -> tuple[str, int]:
    if isinstance(server, dns.nameserver.AddressAndPortNameserver):
        return server.address, server.port
    return server.answer_nameserver(), server.answer_port()


def _looking_up(name: str) -> Callable[[], list[str]]:
    def look_up() -> list[str]:
        try:
            return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            return []

    return look_up


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=ONE).close()
    except (OSError, UnicodeError):
        return False
    return True


def _greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=ONE / 2) as talk:
            return talk.recv(3) == b"220"
    except (OSError, UnicodeError):
        return False
