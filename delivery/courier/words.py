"""Replies as they are kept, and why a connection failed: words for an administrator."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

REPLY_KEPT = 1000  # characters


def real_code(code: int | None) -> int | None:
    """The code of a reply, or None where what came was none (aiosmtplib calls that -1)."""
    return code if code and 100 <= code <= 999 else None


def tidy(reply: str) -> str:
    """A reply as it is kept: one line a line, no control characters, not endless."""
    if reply.isascii() and reply.isprintable():
        return reply[:REPLY_KEPT]
    clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in reply)
    return clean.encode("utf-8", "replace").decode()[:REPLY_KEPT]


def reason(error: BaseException) -> str:
    """The reason behind an error of a connection; the error's own words where nothing better is known."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate cannot be trusted: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or cause}."
        if isinstance(cause, socket.gaierror):
            return f"The name of the host could not be resolved: {cause.strerror}."
        if isinstance(cause, ConnectionError) and cause.errno:
            return f"{os.strerror(cause.errno)}."
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
