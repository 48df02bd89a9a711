"""Command lines taken apart (RFC 5321 4.1.1)."""

from __future__ import annotations

import re

from delivery.gateway.refusal import SYNTAX, Refusal

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def parse_line(line: bytes) -> tuple[str, str]:
    """Verb in upper case and argument. Raises Refusal."""
    if not line:
        raise Refusal("500 5.5.2 Line too long")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Refusal("500 5.5.2 Syntax error, not UTF-8") from None
    if not text.isprintable() and _CONTROL.search(text):
        raise Refusal("500 5.5.2 Syntax error, control characters")
    verb, _, argument = text.partition(" ")
    return verb.upper(), argument.strip(" \t")


def after(keyword: str, argument: str) -> str:
    """What follows FROM: or TO:. Raises Refusal."""
    if argument[: len(keyword)].upper() != keyword:
        raise Refusal(f"{SYNTAX} {keyword}<address> is needed")
    return argument[len(keyword) :].lstrip(" ")
