"""Reading a list of recipients from a CSV file as mail servers and spreadsheets write it. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from delivery.gateway.addresses import domain_key, parse_path
from delivery.gateway.refusal import Refusal

MOST_LINES = 200_000
MOST_BYTES = 32 * 1024 * 1024
REFUSED_SHOWN = 200
LONGEST_LOCAL = 64  # octets (RFC 5321 4.5.3.1.1)
_SEPARATORS = ",;\t"
_LOOKED_AT = 50  # lines from which separator and column are guessed
_SHOWN = 120  # characters of a refused line

# Headings of the column of addresses, without spaces, signs and case. The first that is there wins.
_HEADINGS = (
    "primarysmtpaddress", "emailaddress", "emailaddresses", "email", "mailaddress", "mail", "smtpaddress",
    "recipient", "recipients", "address", "emailadresse", "mailadresse", "adresse", "userprincipalname",
)  # fmt: skip


class Why(StrEnum):
    """Why a line gave no address."""

    NO_ADDRESS = "no_address"
    INVALID = "invalid"
    OTHER_DOMAIN = "other_domain"


class Unreadable(Exception):  # noqa: N818  (an answer to the user)
    """The file as a whole cannot be used. `why` is one of binary, too_long, quote, empty; `line` from 1."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why, self.line = why, line


@dataclass(frozen=True)
class RefusedLine:
    """`number` counts the file's lines from 1, where the row begins."""

    number: int
    text: str
    why: Why


@dataclass
class Listing:
    """What a file holds for one domain. `addresses` are as the gateway compares them, once each, in order."""

    encoding: str
    separator: str
    heading: str
    addresses: list[str] = field(default_factory=list)
    lines: int = 0
    duplicates: int = 0
    refused: Counter[Why] = field(default_factory=Counter)
    shown: list[RefusedLine] = field(default_factory=list)


def read_list(data: bytes, domain: str) -> Listing:
    """Read a file for `domain` (A-labels, lower case). Raises Unreadable."""
    text, encoding = decode(data)
    separator, text, skipped = _separator(text)
    rows = _rows(text, separator, skipped)
    head = _first(rows, _LOOKED_AT)
    if not head:
        raise Unreadable("empty")
    column, heading = _column([row for _number, row in head])
    listing = Listing(encoding, separator, heading)
    seen: set[str] = set()
    for number, row in head[1:] if heading else head:
        _take(listing, seen, number, row, column, domain)
    for number, row in rows:
        if listing.lines >= MOST_LINES:
            raise Unreadable("too_long", number)
        _take(listing, seen, number, row, column, domain)
    return listing


def _take(
    listing: Listing, seen: set[str], number: int, row: Sequence[str], column: int, domain: str
) -> None:
    listing.lines += 1
    for cell in _cells(row[column] if column < len(row) else ""):
        found = normalise(cell, domain)
        if isinstance(found, Why):
            listing.refused[found] += 1
            if len(listing.shown) < REFUSED_SHOWN:
                text = cell.strip() or ", ".join(filter(None, map(str.strip, row)))
                listing.shown.append(RefusedLine(number, _printable(text)[:_SHOWN], found))
        elif found in seen:
            listing.duplicates += 1
        else:
            seen.add(found)
            listing.addresses.append(found)


_OTHER_KIND = re.compile(r"(?!smtp:)[a-z0-9]+:", re.I)


def _cells(cell: str) -> list[str]:
    """The addresses of one cell: Exchange puts all those of a mailbox into one, of other kinds too."""
    if cell.count("@") < 2 or '"' in cell or "<" in cell:
        return [cell]
    return [one for one in re.split(r"[;,|\s]+", cell) if one and not _OTHER_KIND.match(one)]


# --- an address --------------------------------------------------------------------------------------------

_ANGLE = re.compile(r".*<\s*([^<>]*)\s*>\s*", re.S)
_PREFIX = re.compile(r"(?:smtp|mailto)\s*:\s*", re.I)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0"))


def normalise(cell: str, domain: str) -> str | Why:
    """The address of a cell as the gateway compares it, or why there is none.

    Understands `Name <address>`, `SMTP:address` (Exchange), `mailto:`, and a spreadsheet's apostrophe.
    """
    text = cell.translate(_INVISIBLE).replace("\xa0", " ").strip().rstrip(";,").strip()
    angle = _ANGLE.fullmatch(text)
    if angle:
        text = angle[1]
    if text.startswith("'"):
        text = text[1:].removesuffix("'")
    if text[:1] == text[-1:] == '"':
        text = text[1:-1]
    text = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    if not text:
        return Why.NO_ADDRESS
    if text.startswith("@") or text.endswith("@") or "@" not in text:
        return Why.INVALID
    try:
        mailbox, parameters = parse_path(f"<{text}>")
        if mailbox is None or parameters:
            return Why.INVALID
        name = domain_key(mailbox.domain.rstrip("."))
    except Refusal:
        return Why.INVALID
    local = mailbox.local_key
    if len(local.encode()) > LONGEST_LOCAL or not _reasonable(local, mailbox.local):
        return Why.INVALID
    return f"{local}@{name}" if name == domain else Why.OTHER_DOMAIN


def _reasonable(local: str, written: str) -> bool:
    """The gateway takes dots anywhere; in a list they are typing mistakes."""
    return written.startswith('"') or not (local.startswith(".") or local.endswith(".") or ".." in local)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


# --- bytes and columns -------------------------------------------------------------------------------------


def decode(data: bytes) -> tuple[str, str]:
    """The text and the name of its encoding: by its mark, UTF-16 by its zeros, UTF-8, Windows-1252."""
    if len(data) > MOST_BYTES:
        raise Unreadable("too_long")
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return _decoded(data[len(mark) :], name), name
    start = data[:4096]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[offset::2].count(0)
        if zeros > len(start) // 4 and not start[1 - offset :: 2].count(0):
            return _decoded(data, name), name
    if b"\0" in start or start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise Unreadable("binary")  # an .xlsx or .xls, most likely
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        # Five bytes mean nothing in Windows-1252; what they stand in is refused as an address anyway.
        return data.decode("cp1252", "replace"), "cp1252"


def _decoded(data: bytes, name: str) -> str:
    return data.decode(name, "replace")


def _separator(text: str) -> tuple[str, str, int]:
    """The separator, the text without Excel's line about it, and how many lines that left out."""
    told = re.match(r'"?sep=([,;\t|])"?[ \t,;]*(?:\r\n|\r|\n)', text, re.I)
    if told:
        return told[1], text[told.end() :], 1
    start = re.sub(r'"(?:[^"]|"")*"', "", text[:20_000])
    lines = [line for line in re.split(r"\r\n|\r|\n", start)[:_LOOKED_AT] if line]
    counts = {one: [line.count(one) for line in lines] for one in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda one: (sum(map(bool, counts[one])), sum(counts[one])))
    return (best if any(counts[best]) else ","), text, 0


def _rows(text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of the line on which each begins. Raises Unreadable."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    begins = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error:
            raise Unreadable("quote", begins + skipped) from None
        if row is None:
            return
        # A quote that is never closed takes in all lines to the next one.
        if reader.line_num - begins > 20:
            raise Unreadable("quote", begins + skipped)
        if any(cell.strip() for cell in row):
            yield begins + skipped, row
        begins = reader.line_num + 1


def _first(rows: Iterator[tuple[int, list[str]]], count: int) -> list[tuple[int, list[str]]]:
    return list(islice(rows, count))


def _column(rows: list[list[str]]) -> tuple[int, str]:
    """Which column holds the addresses, and its heading (empty: the first row is none)."""
    first = rows[0]
    if not any("@" in cell for cell in first):
        plain = [re.sub(r"[\W_]", "", cell).lower() for cell in first]
        for name in _HEADINGS:
            if name in plain:
                return plain.index(name), first[plain.index(name)].strip()[:40]
    width = max(map(len, rows))
    signs = [sum("@" in row[n] for row in rows if n < len(row)) for n in range(width)]
    column = max(range(width), key=lambda n: signs[n])
    above = first[column].strip() if column < len(first) else ""
    return column, above[:40] if signs[column] and above and "@" not in above else ""
