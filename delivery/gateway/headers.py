"""A look at the headers for people who search the queue. Nothing depends on it; it never raises."""

from __future__ import annotations

import re
from email.header import decode_header
from typing import NamedTuple

LONGEST = 255  # characters kept
_LOOK = 65536  # bytes of headers looked at
_DECODED = 1500  # bytes of one field; the decoder's time grows with the square of a hostile one
_FIELD = re.compile(
    rb"^(Message-ID|Subject|From)[ \t]*:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]+")


class Peek(NamedTuple):
    message_id: str
    subject: str
    header_from: str


def header_block(data: bytes | bytearray, start: int = 0, limit: int = _LOOK) -> bytes:
    """The headers from `start` on, with their last CRLF, at most `limit` bytes."""
    if data.startswith(b"\r\n", start):
        return b""
    end = data.find(b"\r\n\r\n", start, start + limit)
    return bytes(memoryview(data)[start : end + 2 if end >= 0 else start + limit])


def peek(block: bytes) -> Peek:
    """Message-ID, Subject and From of a header block as text, shortened, the first of each."""
    found: dict[bytes, str] = {}
    for field in _FIELD.finditer(block):
        name = field[1].lower()
        if name not in found:
            found[name] = _text(field[2][:_DECODED])
        if len(found) == 3:
            break
    return Peek(found.get(b"message-id", ""), found.get(b"subject", ""), found.get(b"from", ""))


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    text = text.replace("\r\n", "")
    if "=?" in text:
        text = _decoded(text)
    return _UNSTORABLE.sub(" ", text).strip()[:LONGEST]


def _decoded(text: str) -> str:
    """RFC 2047 words decoded; whatever the parser makes of hostile mail, some text comes back."""
    try:
        parts = decode_header(text)
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "latin-1", errors="replace")
            for part, charset in parts
        )
    except Exception:  # an unknown charset, broken base64, deep nesting
        return text
