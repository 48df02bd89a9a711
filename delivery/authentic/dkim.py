"""DKIM signatures (RFC 6376) by dkimpy, made safe for hostile mail and for a process that serves others.

dkimpy verifies headers and keys. The body is hashed here, in pieces, because dkimpy copies it several times
over in single calls that stop every other thread: a body of 50 MB would stop the gateway for a second.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

import dkim

from delivery.authentic.resolver import Answer

log = logging.getLogger(__name__)

MOST_SIGNATURES = 5  # of one message; the others are not looked at
MOST_HEADERS = 256 * 1024  # bytes
MOST_FIELDS = 1000
MOST_LINES = 2500
MOST_SIGNED = 200  # names in h=
LONGEST_SIGNATURE = 8192  # bytes of one DKIM-Signature field
LONGEST_KEY = 2048  # bytes of a key record; a 4096 bit key has 800
LARGEST_KEY = 4096  # bits
SMALLEST_KEY = 1024  # bits: RFC 8301 3.2
_PIECE = 64 * 1024
_SPACES = re.compile(rb"\s{64}")
_DOMAIN = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE)
_WHITE = re.compile(rb"[\t ]+")


@dataclass(frozen=True, slots=True)
class Dkim:
    """One signature. `result` in the words of RFC 8601 2.7.1, `reason` in ours. `domain` in lower case."""

    result: str
    domain: str = ""
    selector: str = ""
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.result == "pass"


class Signature:
    """A signature that is worth a look at its key: ask the DNS for `key_name`, then `verify`."""

    def __init__(
        self, holder: dkim.DKIM, fields: dict[bytes, bytes], signed: list[bytes], field: Any
    ) -> None:
        self._holder = holder
        self._fields = fields
        self._signed = signed
        self._field = field
        self.domain = fields[b"d"].decode("ascii").lower()
        self.selector = fields[b"s"].decode("ascii", "replace")

    @property
    def key_name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

    def verify(self, key: Answer, body: memoryview, until: float = inf) -> Dkim:
        """The verdict, by `until` on the monotonic clock. Its time grows with `body`: for a thread."""
        if key.failed:
            return self._is("temperror", "key not available")
        records = [value for value in key.values if b"p=" in value]
        if len(records) != 1:
            return self._is("permerror", "several keys" if records else "no key")
        try:
            return self._verified(records[0], body, until)
        except TimeoutError:
            return self._is("temperror", "took too long")
        except Exception as error:  # dkimpy lets more through than its own exceptions
            log.debug("DKIM of %s: %s", self.domain, type(error).__name__)
            return self._is("permerror", "key or signature not valid")

    def _verified(self, record: bytes, body: memoryview, until: float) -> Dkim:
        holder, fields = self._holder, self._fields
        if len(record) > LONGEST_KEY:
            return self._is("permerror", "key too large")
        if re.search(rb"(?:^|;)\s{0,9}p=\s{0,9}(?:;|$)", record):
            return self._is("fail", "key revoked")
        holder.pk, holder.keysize, holder.ktag, holder.seqtlsrpt = dkim.evaluate_pk(self.key_name, record)
        if holder.ktag == b"rsa":
            if not SMALLEST_KEY <= holder.keysize <= LARGEST_KEY:
                return self._is("policy", f"key of {holder.keysize} bits")
            if holder.pk["publicExponent"] >> 32:
                return self._is("policy", "key with a large exponent")
        limit = int(fields[b"l"]) if fields.get(b"l") else None
        digest = body_hash(body, relaxed=_body_is_relaxed(fields), limit=limit, until=until)
        if not hmac.compare_digest(digest, base64.b64decode(re.sub(rb"\s+", b"", fields[b"bh"]))):
            return self._is("fail", "body changed")
        without_body = {name: value for name, value in fields.items() if name != b"bh"}
        if holder.verify_sig_process(without_body, list(self._signed), self._field, None):
            return self._is("pass")
        return self._is("fail", "signature does not match")

    def _is(self, result: str, reason: str = "") -> Dkim:
        return Dkim(result, self.domain, self.selector, reason)


def signatures(headers: bytes) -> list[Signature | Dkim]:
    """What is signed in a header block (with its last CRLF): each signature, or the verdict where it is none.

    Never raises.
    """
    if not re.search(rb"^DKIM-Signature[ \t]*:", headers, re.IGNORECASE | re.MULTILINE):
        return []
    if len(headers) > MOST_HEADERS or headers.count(b"\r\n") > MOST_LINES:
        return [Dkim("neutral", reason="headers too large")]
    try:
        fields, _body = dkim.rfc822_parse(headers + b"\r\n")
    except (dkim.DKIMException, IndexError):
        return [Dkim("neutral", reason="headers cannot be read")]
    if len(fields) > MOST_FIELDS:
        return [Dkim("neutral", reason="too many headers")]
    count = sum(name.lower() == b"dkim-signature" for name, _value in fields)
    return [_signature(fields, index) for index in range(min(count, MOST_SIGNATURES))]


def _signature(fields: list[tuple[bytes, bytes]], index: int) -> Signature | Dkim:
    holder = dkim.DKIM(minkey=SMALLEST_KEY)
    holder.headers = fields
    raw = [value for name, value in fields if name.lower() == b"dkim-signature"][index]
    if len(raw) > LONGEST_SIGNATURE or _SPACES.search(raw):  # dkimpy's patterns are slow on these
        return Dkim("neutral", reason="signature too long")
    try:
        tags, signed, all_signatures = holder.verify_headerprep(index)
    except dkim.DKIMException as error:
        log.debug("a DKIM signature: %s", error)
        return Dkim("permerror", reason="signature cannot be read")
    if not _DOMAIN.fullmatch(tags[b"d"]) or not re.fullmatch(rb"[A-Za-z0-9._-]{1,253}", tags[b"s"]):
        return Dkim("permerror", reason="domain or selector not valid")
    domain, selector = tags[b"d"].decode().lower(), tags[b"s"].decode()
    if tags[b"a"] == b"rsa-sha1":  # RFC 8301 3.1
        return Dkim("policy", domain, selector, "rsa-sha1")
    if b"from" not in signed or len(signed) > MOST_SIGNED:
        return Dkim("permerror", domain, selector, "the wrong headers are signed")
    return Signature(holder, tags, signed, all_signatures[index])


def _body_is_relaxed(tags: dict[bytes, bytes]) -> bool:
    """RFC 6376 3.5: c=header/body, simple by default. dkimpy refuses other words."""
    return tags.get(b"c", b"").partition(b"/")[2].lower() == b"relaxed"


def body_hash(body: memoryview, *, relaxed: bool, limit: int | None = None, until: float = inf) -> bytes:
    """SHA-256 of the body in canonical form (RFC 6376 3.4), of its first `limit` bytes if given.

    `body` has CRLF line ends. In pieces: no call holds the interpreter for more than some milliseconds.
    Raises TimeoutError at `until` on the monotonic clock.
    """
    digest = hashlib.sha256()
    left = limit if limit is not None else len(body) + 2
    for piece in _canonical(body, relaxed):
        if time.monotonic() > until:
            raise TimeoutError
        digest.update(piece[:left])
        left -= min(left, len(piece))
        if not left:
            break
    return digest.digest()


def _canonical(body: memoryview, relaxed: bool) -> Iterator[bytes]:
    end = _end_of_text(body, b" \t\r\n" if relaxed else b"\r\n")
    if not end:
        if not relaxed:
            yield b"\r\n"
        return
    held = b""  # white space and CR at the end of a piece: what follows says what becomes of them
    for start in range(0, end, _PIECE):
        piece = bytes(body[start : min(start + _PIECE, end)])
        if not relaxed:
            yield piece
            continue
        piece = held + piece
        text = piece.rstrip(b" \t\r")
        held = _WHITE.sub(b" ", piece[len(text) :])
        if b"  " in text or b"\t" in text:
            text = _WHITE.sub(b" ", text)
        yield text.replace(b" \r\n", b"\r\n")
    yield b"\r\n"


def _end_of_text(body: memoryview, blank: bytes) -> int:
    """Where the last line that is not empty ends, without its CRLF."""
    end = len(body)
    while end:
        start = max(0, end - _PIECE)
        kept = len(bytes(body[start:end]).rstrip(blank))
        if kept:
            return start + kept
        end = start
    return 0
