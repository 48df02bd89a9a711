"""The answer no."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  (an answer to the client)
    """A command is answered with `reply`: code, enhanced code (RFC 3463) and text, without CRLF."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


SYNTAX = "501 5.5.4"
NOT_NOW = "451 4.3.0 The mail store cannot answer now, try again later"
TOO_LARGE = "552 5.3.4 Message too large"
NO_SPACE = "452 4.3.1 Too much mail in flight, try again later"
CLOSING = "421 4.3.2 Service closing, try again later"
