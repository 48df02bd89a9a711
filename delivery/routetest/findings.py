"""What one step came to, as the dialogue notes it."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

from delivery.courier.words import reason, tidy
from delivery.routetest.steps import Problem, Result, Stage, causes, diagnose_reply

MOST_LISTED = 40  # extensions, addresses, certificates of a chain


@dataclass
class Finding:
    """What a step came to, before its time is put to it."""

    result: Result = Result.OK
    said: str = ""
    problem: Problem | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def answered(stage: Stage, code: int, text: str) -> Finding:
    """What the server's answer to a step comes to."""
    result, problem = diagnose_reply(stage, code, text)
    return Finding(result, f"{code} {text}" if code >= 100 else text, problem)


def clean(value: Any) -> Any:
    """A server's words among the facts, as they may be stored and shown."""
    if isinstance(value, list):
        return [tidy(str(one)) for one in value[:MOST_LISTED]]
    return tidy(value) if isinstance(value, str) else value


def words(error: BaseException) -> str:
    """The reason for a failure, as the courier words it; also for a network that cannot be reached."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError | socket.gaierror):
            break
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            return f"{os.strerror(cause.errno)}."
    return reason(error)
