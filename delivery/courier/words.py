"""Why a connection failed, in words for an administrator: without Python's own around them."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator


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
