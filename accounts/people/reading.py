"""Reading people from a CSV file, and what importing them would change. Pure: no models, no database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext as _

from accounts import addresses
from accounts.addresses import Unusable
from accounts.csv_files import MOST_LINES, Unreadable, heading_key, plain, printable, read_rows
from accounts.people import phones

HEADINGS: dict[str, tuple[str, ...]] = {
    "address": (
        "address", "mailbox", "mailboxaddress", "primarysmtpaddress", "emailaddress", "email", "mail",
        "mailaddress", "smtpaddress", "userprincipalname", "emailadresse", "mailadresse", "postfach",
        "adresse",
    ),
    "name": ("name", "displayname", "fullname", "person", "anzeigename", "vollername"),
    "first": ("firstname", "givenname", "vorname"),
    "last": ("lastname", "surname", "familyname", "sn", "nachname", "familienname"),
    "alternate": (
        "alternateaddress", "alternateemail", "alternatemail", "privateemail", "privateaddress",
        "privatemail",
        "privatemailadresse", "externalemail", "otheremail", "recoveryemail", "personalemail",
        "alternativeemail", "alternativeadresse", "ersatzadresse",
    ),
    "phone": (
        "phone", "phonenumber", "mobile", "mobilephone", "mobilenumber", "cell", "cellphone", "sms",
        "telephone", "telephonenumber", "handy", "handynummer", "mobil", "mobiltelefon", "telefon",
    ),
    "groups": ("groups", "group", "gruppen", "gruppe", "department", "team", "abteilung"),
}  # fmt: skip
EXPORTED = ("address", "name", "alternate_address", "phone", "groups")
LONGEST_NAME = 120
LONGEST_ADDRESS = 254
LONGEST_GROUP = 80
MOST_GROUPS = 50  # of one person
EMPTY = {"-", "–"}  # such a cell empties the field; a blank one leaves it as it is


@dataclass(frozen=True)
class Line:
    """One person of the file. None: the file says nothing of it, or leaves it as it is."""

    number: int
    address: str
    name: str | None = None
    alternate: str | None = None
    phone: str | None = None
    groups: tuple[str, ...] | None = None

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def restored(cls, row: Mapping[str, Any]) -> Line:
        groups = row["groups"]
        return cls(**{**row, "groups": None if groups is None else tuple(groups)})

    @property
    def said(self) -> tuple[object, ...]:
        """What it says, wherever it stands."""
        return (self.name, self.alternate, self.phone, self.groups)


@dataclass(frozen=True)
class Wrong:
    """A line in error: why, in words for the user. `number` is that of the line, from 1."""

    number: int
    text: str
    why: str


@dataclass(frozen=True)
class Repeated:
    """A line that says the same as an earlier one."""

    number: int


@dataclass(frozen=True)
class Table:
    """The file's columns, and the lines below its headings, read as they are asked for."""

    separator: str
    headings: dict[str, str]
    rows: Iterator[tuple[int, list[str]]]
    columns: dict[str, int]


def table(text: str) -> Table:
    """The columns of a file by their headings. Raises Unreadable."""
    separator, rows = read_rows(text)
    first = next(rows, None)
    if first is None:
        raise Unreadable("empty")
    keys = [heading_key(plain(cell)) for cell in first[1]]
    columns = {
        field: next(keys.index(name) for name in names if name in keys)
        for field, names in HEADINGS.items()
        if any(name in keys for name in names)
    }
    if "address" not in columns or any("@" in cell for cell in first[1]):
        raise Unreadable("headings", first[0])
    headings = {field: first[1][column].strip()[:40] for field, column in columns.items()}
    return Table(separator, headings, rows, columns)


def lines(table: Table, domains: Sequence[str], country: str) -> Iterator[Line | Wrong | Repeated]:
    """Each line of the file. `domains` are the account's own, A-labels. Raises Unreadable."""
    seen: dict[str, tuple[int, int]] = {}
    for count, (number, row) in enumerate(table.rows, 1):
        if count > MOST_LINES:
            raise Unreadable("too_long", number)
        cells = {
            field: plain(row[column]) if column < len(row) else "" for field, column in table.columns.items()
        }
        try:
            line = _line(number, cells, domains, country)
        except Unusable as unusable:
            text = cells["address"] or ", ".join(filter(None, cells.values()))
            yield Wrong(number, printable(text)[:LONGEST_NAME], str(unusable))
            continue
        said = hash(line.said)
        before = seen.setdefault(line.address, (number, said))
        if before == (number, said):
            yield line
        elif before[1] == said:
            yield Repeated(number)
        else:
            why = _("Line %(line)s says something else of the same address.") % {"line": before[0]}
            yield Wrong(number, line.address, why)


def _line(number: int, cells: Mapping[str, str], domains: Sequence[str], country: str) -> Line:
    address = _address(cells["address"], domains)
    name = cells.get("name") or " ".join(filter(None, (cells.get("first"), cells.get("last")))) or None
    if name and len(name) > LONGEST_NAME:
        raise Unusable(_("The name is longer than %(n)s characters.") % {"n": LONGEST_NAME})
    alternate = _kept(cells, "alternate")
    if alternate:
        alternate = addresses.email(_bare(alternate))
        if len(alternate) > LONGEST_ADDRESS:
            raise Unusable(_("This is not an e-mail address."))
        addresses.check_out_of_band(alternate, domains)
    phone = _kept(cells, "phone")
    phone = phones.from_file(phone, country) if phone else phone
    groups = _kept(cells, "groups")
    return Line(number, address, name, alternate, phone, None if groups is None else group_names(groups))


def _kept(cells: Mapping[str, str], field: str) -> str | None:
    cell = cells.get(field, "")
    return "" if cell in EMPTY else cell or None


def _bare(text: str) -> str:
    """The address of `Name <address>`, `mailto:address` or `SMTP:address`."""
    angle = re.search(r"<\s*([^<>]*?)\s*>\s*$", text)
    return re.sub(r"^(?:smtp|mailto):\s*", "", angle[1] if angle else text, flags=re.IGNORECASE)


def _address(text: str, domains: Sequence[str]) -> str:
    if not text:
        raise Unusable(_("The line has no address."))
    address = addresses.email(_bare(text)).lower()
    if len(address) > LONGEST_ADDRESS:
        raise Unusable(_("This is not an e-mail address."))
    if address.rpartition("@")[2] not in domains:
        raise Unusable(_("The address is not in one of your domains."))
    return address


def group_names(text: str) -> tuple[str, ...]:
    """The names in a cell of groups, by semicolon, bar or line, in order. Raises Unusable."""
    found = sorted({" ".join(name.split()) for name in re.split(r"[;|\n\r]", text) if name.strip()})
    if any(len(name) > LONGEST_GROUP for name in found):
        raise Unusable(_("The name of a group is longer than %(n)s characters.") % {"n": LONGEST_GROUP})
    if len(found) > MOST_GROUPS:
        raise Unusable(_("Nobody can be in more than %(n)s groups.") % {"n": MOST_GROUPS})
    return tuple(found)


# --- what an import changes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A person as they are stored. `checked`: which of alternate and phone they have verified themselves."""

    name: str
    alternate: str
    phone: str
    groups: tuple[str, ...]
    checked: frozenset[str] = frozenset()


def changes(line: Line, known: Known) -> dict[str, tuple[str, str]]:
    """What a line changes of a person: field: (before, after)."""
    found = {}
    for field in ("name", "alternate", "phone"):
        new = getattr(line, field)
        if new is not None and new != getattr(known, field):
            found[field] = (str(getattr(known, field)), str(new))
    if line.groups is not None and line.groups != known.groups:
        found["groups"] = ("; ".join(known.groups), "; ".join(line.groups))
    return found
