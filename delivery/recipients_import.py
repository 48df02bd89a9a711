"""Reading a list of recipients from a CSV file as mail servers and spreadsheets write it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from accounts.csv_files import MOST_LINES, Unreadable, decode, heading_key, printable, read_rows, visible
from delivery.gateway.addresses import domain_key, parse_path
from delivery.gateway.refusal import Refusal

REFUSED_SHOWN = 200
LONGEST_LOCAL = 64  # octets (RFC 5321 4.5.3.1.1)
_LOOKED_AT = 50  # lines from which the column is guessed
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
    separator, rows = read_rows(text)
    head = list(islice(rows, _LOOKED_AT))
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
                listing.shown.append(RefusedLine(number, printable(text)[:_SHOWN], found))
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


def normalise(cell: str, domain: str) -> str | Why:
    """The address of a cell as the gateway compares it, or why there is none.

    Understands `Name <address>`, `SMTP:address` (Exchange), `mailto:`, and a spreadsheet's apostrophe.
    """
    text = visible(cell).rstrip(";,").strip()
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


# --- the column ------------------------------------------------------------------------------------------


def _column(rows: list[list[str]]) -> tuple[int, str]:
    """Which column holds the addresses, and its heading (empty: the first row is none)."""
    first = rows[0]
    if not any("@" in cell for cell in first):
        plain = [heading_key(cell) for cell in first]
        for name in _HEADINGS:
            if name in plain:
                return plain.index(name), first[plain.index(name)].strip()[:40]
    width = max(map(len, rows))
    signs = [sum("@" in row[n] for row in rows if n < len(row)) for n in range(width)]
    column = max(range(width), key=lambda n: signs[n])
    above = first[column].strip() if column < len(first) else ""
    return column, above[:40] if signs[column] and above and "@" not in above else ""
