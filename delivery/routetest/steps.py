"""What a step of a test is, and what its failure means: plain values and pure functions."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from delivery.rules.replies import enhanced_status, is_about_the_recipient, is_about_the_system

# A host is given so many seconds in all, and a step at most so many of them.
HOST_SECONDS = 40.0
STEP_SECONDS = 20.0
EXPIRES_SOON_DAYS = 14


class Stage(StrEnum):
    """In the order in which they are tried."""

    DNS = "dns"
    TCP = "tcp"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    MESSAGE = "message"


class Result(StrEnum):
    """WARNING: mail passes, but somebody should know. A FAILED step ends the test of its host."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Problem(StrEnum):
    """Why a step did not simply succeed. `routetest.words` says of each what to do."""

    NO_ADDRESS = "no_address"
    DNS_AWAY = "dns_away"
    REFUSED = "refused"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    HUNG_UP = "hung_up"
    BUSY = "busy"
    TURNED_AWAY = "turned_away"
    NOT_SMTP = "not_smtp"
    XCLIENT_MISSING = "xclient_missing"
    TLS_MISSING = "tls_missing"
    TLS_FAILED = "tls_failed"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_EXPIRES = "certificate_expires"
    CERTIFICATE_NAME = "certificate_name"
    CERTIFICATE_SELF_SIGNED = "certificate_self_signed"
    CERTIFICATE_UNKNOWN = "certificate_unknown"
    AUTH_MISSING = "auth_missing"
    AUTH_REFUSED = "auth_refused"
    PASSWORD_UNREADABLE = "password_unreadable"  # noqa: S105
    SENDER_REFUSED = "sender_refused"
    RELAY_REFUSED = "relay_refused"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RECIPIENT_DEFERRED = "recipient_deferred"
    FULL = "full"
    MESSAGE_REFUSED = "message_refused"
    MESSAGE_DEFERRED = "message_deferred"
    HOST_REMOVED = "host_removed"
    OUR_FAULT = "our_fault"


@dataclass(frozen=True)
class Step:
    """One finished step. `ms` is milliseconds; `said` the server's words, or ours where it had none."""

    host: str
    stage: str
    result: str
    ms: int
    said: str = ""
    problem: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def outcome(steps: Iterable[Step]) -> Result:
    """Of a whole test: FAILED when no host passed, WARNING when one did not or somebody should know."""
    by_host: dict[str, list[str]] = {}
    for step in steps:
        by_host.setdefault(step.host, []).append(step.result)
    failed = [Result.FAILED in results for results in by_host.values()]
    if not failed or all(failed):
        return Result.FAILED
    warned = any(Result.WARNING in results for results in by_host.values())
    return Result.WARNING if any(failed) or warned else Result.OK


def diagnose_reply(stage: str, code: int | None, text: str) -> tuple[Result, Problem | None]:
    """What an answer at a stage means for the route."""
    if code == 421:
        return Result.FAILED, Problem.BUSY
    if code is None or not 200 <= code < 600:
        return Result.FAILED, Problem.HUNG_UP if code is None else Problem.NOT_SMTP
    if code < 400:
        return Result.OK, None
    if stage in (Stage.BANNER, Stage.EHLO):
        return Result.FAILED, Problem.BUSY if code < 500 else Problem.TURNED_AWAY
    if stage == Stage.STARTTLS:
        return Result.FAILED, Problem.TLS_FAILED
    if stage == Stage.AUTH:
        return Result.FAILED, Problem.BUSY if code < 500 else Problem.AUTH_REFUSED
    if is_about_the_system(code, text):
        return Result.FAILED, Problem.FULL
    if stage == Stage.MAIL:
        return Result.FAILED, Problem.BUSY if code < 500 else Problem.SENDER_REFUSED
    if stage == Stage.RCPT:
        return _diagnose_recipient(code, text)
    return Result.FAILED, Problem.MESSAGE_DEFERRED if code < 500 else Problem.MESSAGE_REFUSED


def _diagnose_recipient(code: int, text: str) -> tuple[Result, Problem]:
    """An address that is refused for its own sake says nothing against the route."""
    if code < 500:
        return Result.WARNING, Problem.RECIPIENT_DEFERRED
    status = enhanced_status(text)
    own = is_about_the_recipient(text) if status else code in (550, 551, 553)
    return (Result.WARNING, Problem.RECIPIENT_UNKNOWN) if own else (Result.FAILED, Problem.RELAY_REFUSED)


# X.509 verification results of OpenSSL (x509_vfy.h).
_CERTIFICATE = {
    10: Problem.CERTIFICATE_EXPIRED,
    18: Problem.CERTIFICATE_SELF_SIGNED,
    62: Problem.CERTIFICATE_NAME,
    64: Problem.CERTIFICATE_NAME,
}


def certificate_problem(error: ssl.SSLCertVerificationError) -> Problem:
    """Why the system would not trust a certificate."""
    return _CERTIFICATE.get(error.verify_code, Problem.CERTIFICATE_UNKNOWN)


_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL)


def diagnose_error(stage: str, error: BaseException) -> Problem:
    """What kept a step from an answer, read from the chain of its causes."""
    for cause in causes(error):
        if isinstance(cause, socket.gaierror):
            away = cause.errno in (socket.EAI_AGAIN, socket.EAI_FAIL)
            return Problem.DNS_AWAY if away else Problem.NO_ADDRESS
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate_problem(cause)
        if isinstance(cause, ssl.SSLError):
            return Problem.TLS_FAILED
        if isinstance(cause, TimeoutError):
            return Problem.DNS_AWAY if stage == Stage.DNS else Problem.SILENT
        if isinstance(cause, ConnectionRefusedError):
            return Problem.REFUSED
        if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
            return Problem.UNREACHABLE
    if stage == Stage.STARTTLS:
        return Problem.TLS_FAILED
    return Problem.UNREACHABLE if stage == Stage.TCP else Problem.HUNG_UP


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
