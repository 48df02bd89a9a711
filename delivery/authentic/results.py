"""The Authentication-Results field (RFC 8601): ours is written, those that claim to be ours removed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from delivery.authentic.alignment import Dmarc
from delivery.authentic.dkim import Dkim
from delivery.authentic.spf import Spf
from delivery.gateway.headers import header_block

_FIELD = re.compile(
    rb"^Authentication-Results[ \t]*:((?:[^\r\n]*)(?:\r\n[ \t][^\r\n]*)*)\r\n", re.IGNORECASE | re.MULTILINE
)
_COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
MOST_HEADERS = 1 << 20  # bytes of headers that are looked through
MOST_NESTED = 10  # comments
_LONGEST_VALUE = 4096  # characters of a field in which an id is looked for with care


def in_words(spf: Spf, signatures: Sequence[Dkim], dmarc: Dmarc) -> list[str]:
    """Each method with its result, as RFC 8601 writes them."""
    where = "smtp.mailfrom" if spf.identity == "mailfrom" else "smtp.helo"
    words = [f"spf={spf.result} {where}={_plain(spf.domain)}" if spf.domain else f"spf={spf.result}"]
    words += [_of_signature(signature) for signature in signatures] or ["dkim=none"]
    words.append(f"dmarc={dmarc.result}" + (f" header.from={_plain(dmarc.domain)}" if dmarc.domain else ""))
    return words


def _of_signature(signature: Dkim) -> str:
    reason = f" ({signature.reason})" if signature.reason else ""
    domain = f" header.d={_plain(signature.domain)}" if signature.domain else ""
    selector = f" header.s={_plain(signature.selector)}" if signature.selector else ""
    return f"dkim={signature.result}{reason}{domain}{selector}"


def _plain(text: str) -> str:
    """What was sent to us, fit to stand in a header field."""
    return _NOT_PLAIN.sub("?", text)[:253]


def header_field(name: str, words: Sequence[str]) -> bytes:
    """The field, folded, with CRLF. `name` is our authserv-id."""
    return (f"Authentication-Results: {name};\r\n\t" + ";\r\n\t".join(words) + "\r\n").encode("ascii")


def prepend_results(data: bytearray, start: int, name: str, words: Sequence[str]) -> int:
    """Remove the fields that claim the authserv-id `name` from the headers at `start` of `data`, and put ours
    in front of all, if there is anything to say. Returns by how many bytes `start` has moved.
    """
    for begin, end in reversed(forged(header_block(data, start, MOST_HEADERS), name)):
        del data[start + begin : start + end]
    if not words:
        return 0
    field = header_field(name, words)
    data[:0] = field
    return len(field)


def forged(headers: bytes, name: str) -> list[tuple[int, int]]:
    """Where in a header block fields stand that claim the authserv-id `name`: start and end, in order."""
    if b"uthentication-" not in headers and b"AUTHENTICATION-" not in headers.upper():
        return []
    return [match.span() for match in _FIELD.finditer(headers) if _claims(match[1], name.lower())]


def _claims(value: bytes, name: str) -> bool:
    """Whether a reader might take the field for ours. In doubt it does, if our name stands in it at all."""
    text = value.decode("utf-8", "replace").replace("\r\n", "").lower()
    if name not in text:
        return False
    if len(text) > _LONGEST_VALUE:
        return True
    for _ in range(MOST_NESTED):
        text, comments = _COMMENT.subn(" ", text)
        if not comments:
            break
    else:
        return True
    words = text.partition(";")[0].split()
    return not words or "(" in words[0] or words[0].strip('"').removesuffix(".") == name or '"' in words[0]
