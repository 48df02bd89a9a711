"""The Received line, and how we know a message that was here before (RFC 5321 4.4, 6.3)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from delivery.gateway.headers import header_block
from delivery.gateway.refusal import Refusal

MOST_HOPS = 100
MOST_TIMES_OUT = 4
_HEADERS = 1 << 20  # bytes of headers searched for hops
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_RECEIVED = re.compile(rb"^Received[ \t]*:", re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


class Tracer:
    """Writes the Received lines of this installation and knows them again by the mark in their id."""

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self._random = b""
        self._key = hashlib.sha256(b"gateway trace" + key.encode()).digest()
        self._own = re.compile(
            rb"\sby\s+%s\s[^;]{0,120}\sid\s+([0-9a-f]{12})([0-9a-f]{12})\s*;" % re.escape(name.encode())
        )

    def new_id(self, *, outbound: bool = False) -> str:
        """An id for one message: random, and a mark that only this installation can make."""
        if not self._random:  # in bulk: each time it is a system call, for which other threads may go first
            self._random = secrets.token_bytes(6 * 256)
        token, self._random = self._random[:6].hex(), self._random[6:]
        return token + self._mark(token.encode(), outbound)

    def _mark(self, token: bytes, outbound: bool) -> str:
        # Keyed BLAKE2 is a MAC of its own, and much quicker than OpenSSL's HMAC for a few bytes.
        return hashlib.blake2b(token + b"out" * outbound, key=self._key, digest_size=6).hexdigest()

    def received(self, queue_id: str, *, helo: str, address: str, tls: str, protocol: str) -> bytes:
        """The header field, folded, with CRLF. `tls` is version and cipher, or empty."""
        literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        how = f"{protocol} ({tls})" if tls else protocol
        return (
            f"Received: from {_NOT_PLAIN.sub('?', helo)[:255]} ({literal})\r\n"
            f"\tby {self.name} with {how} id {queue_id};\r\n"
            f"\t{_date(int(time.time()))}\r\n"
        ).encode("ascii")

    def check_loop(self, data: bytes | bytearray, start: int, *, outbound: bool = False) -> None:
        """Raise Refusal for a message (from `start` on) with too many hops or with a line of our own.

        In and out are two things: what came in may be forwarded out, and what went out may come back by a
        mailing list. Out may even be passed some times, by way of such a list.
        """
        headers = header_block(data, start, _HEADERS)
        if len(_RECEIVED.findall(headers)) > MOST_HOPS:
            raise Refusal("554 5.4.6 Too many hops, this message is in a loop")
        ours = sum(
            hmac.compare_digest(self._mark(token, outbound), mark.decode())
            for token, mark in self._own.findall(headers)
        )
        if ours > (MOST_TIMES_OUT if outbound else 0):
            raise Refusal("554 5.4.6 This message was here before, it is in a loop")
