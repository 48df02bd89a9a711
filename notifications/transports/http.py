"""One POST to a provider, for transports that speak HTTP themselves: bounded in time and in size.

The name is resolved once and the connection made to an address that was looked at, so that no second
answer of the name server leads elsewhere. No redirect is followed and no proxy used.
"""

from __future__ import annotations

import io
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.utils import timezone
from django.utils.translation import gettext as _

from notifications.transports import TemporaryFailure
from notifications.transports.bounded import ANSWER_BYTES, Received, within

# Resolving, connecting, and from there to the end of the answer: 45 s in all.
RESOLVE_SECONDS = 10
CONNECT_SECONDS = 5
CONNECT_ADDRESSES = 3
ANSWER_SECONDS = 20

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MayUse = Callable[[Address], bool]


@dataclass(frozen=True)
class Answer:
    """What the provider said. `complete`: its text came to an end, or to as much as is read of one.

    `retry_after` is in seconds, from the header of that name (RFC 9110, 10.2.3).
    """

    status: int
    text: str
    complete: bool
    retry_after: float | None

    @property
    def words(self) -> str:
        """The answer for people: the status, and the text on one line."""
        return f"{self.status} {' '.join(self.text.split())}".strip()[:500]


def post(url: str, body: bytes, headers: Mapping[str, str], may_use: MayUse | None = None) -> Answer:
    """POST `body` to an http or https address. Raises TemporaryFailure when there is no answer.

    `may_use` says which of the addresses that the name has may be connected to; without it, any may.
    """
    parts = urlsplit(url)
    whole_request_sent = False
    bounded: _Bounded | None = None
    try:
        connection = HTTPConnection(parts.hostname or "", parts.port)
        connection.sock = bounded = _connected(parts, may_use)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        ours = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "Continuity", "Connection": "close"}
        connection.request("POST", path, body, ours | dict(headers))
        whole_request_sent = True
        return _answer(connection.getresponse())
    except (OSError, HTTPException) as error:
        words = _("The provider gave no answer") if whole_request_sent else _("No connection to the provider")
        said = f"{words}: {_said(error)}"
        sent = whole_request_sent
        raise TemporaryFailure(said, perhaps_sent=sent, everybody=not sent) from None
    finally:
        if bounded is not None:
            bounded.hang_up()


def is_public(address: Address) -> bool:
    """Whether an address belongs to the Internet, also where IPv6 wraps an IPv4 address."""
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast


def _wrapped(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in ipaddress.IPv6Network("64:ff9b::/96"):  # RFC 6052
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return _("it took too long")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _("its certificate is not valid (%s)") % error.verify_message
    # What an error of http.client says may quote what was received or sent.
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _answer(response: HTTPResponse) -> Answer:
    text, complete = b"", False
    try:
        text = response.read(ANSWER_BYTES)
        complete = len(text) == ANSWER_BYTES or not response.length
    except IncompleteRead as error:
        text = error.partial
    except (OSError, HTTPException):
        pass
    return Answer(
        response.status,
        text.decode("utf-8", "replace"),
        complete,
        _seconds(response.headers.get("Retry-After", "")),
    )


def _seconds(retry_after: str) -> float | None:
    if retry_after.strip().isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - timezone.now()).total_seconds())
    except (ValueError, TypeError):
        return None


def _connected(parts: SplitResult, may_use: MayUse | None) -> _Bounded:
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    found = _resolved(host, parts.port or (443 if secure else 80))
    usable = [one for one in found if may_use is None or may_use(_address(one[1]))]
    if not usable:
        named = ", ".join(sorted({str(_address(one[1])) for one in found}))
        raise TemporaryFailure(
            _("The address leads into a network that is not allowed: %(host)s is %(addresses)s.")
            % {"host": host, "addresses": named}
        )
    problem: OSError = OSError()
    for family, address in usable[:CONNECT_ADDRESSES]:
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(CONNECT_SECONDS)
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected = (
                _context(os.environ.get("SSL_CERT_FILE")).wrap_socket(plain, server_hostname=host)
                if secure
                else plain
            )
        except OSError as error:
            plain.close()
            problem = error
        else:
            return _Bounded(connected, time.monotonic() + ANSWER_SECONDS)
    raise problem


@cache
def _context(_authorities: str | None) -> ssl.SSLContext:
    """Kept, for reading the authorities takes longer than a message; SSL_CERT_FILE names others."""
    return ssl.create_default_context()


Found = tuple[socket.AddressFamily, Any]


def _address(socket_address: Any) -> Address:
    return ipaddress.ip_address(socket_address[0].partition("%")[0])


def _resolved(host: str, port: int) -> list[Found]:
    """The addresses of `host`; the system's resolver knows no time-out."""
    try:
        found = within(RESOLVE_SECONDS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except UnicodeError:
        raise OSError(0, _("not a host name")) from None
    return [(family, address) for family, _type, _proto, _name, address in found]


class _Bounded:
    """A socket as http.client uses it, whose every wait ends at `deadline`, however slowly the other side
    drips. It is closed by `hang_up` only: http.client closes it before it has read the answer.
    """

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = connected, deadline

    def sendall(self, data: Any) -> None:
        self.in_time().sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(Received(self.in_time))

    def close(self) -> None:
        pass

    def hang_up(self) -> None:
        self._socket.close()

    def in_time(self) -> socket.socket:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket
