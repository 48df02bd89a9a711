"""CSV files as mail servers and spreadsheets write them: their bytes, separators, rows and cells. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

MOST_LINES = 200_000
MOST_BYTES = 32 * 1024 * 1024
_SEPARATORS = ",;\t"
_LOOKED_AT = 50  # lines from which the separator is guessed
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\0"))
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " ")
_FORMULA = (
    "=+-@\t\r'"  # what begins a formula for one spreadsheet or another, and the apostrophe that guards it
)


class Unreadable(Exception):  # noqa: N818  (an answer to the user)
    """The file as a whole cannot be used. `line` counts from 1.

    `why` is one of binary, too_long, quote, empty, headings.
    """

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why, self.line = why, line


# --- bytes -------------------------------------------------------------------------------------------------


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


def read_rows(text: str) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """The separator, and the rows that are not empty, each with its line from 1. They raise Unreadable."""
    separator, text, skipped = _separator(text)
    return separator, _rows(text, separator, skipped)


# --- cells -------------------------------------------------------------------------------------------------


def visible(cell: str) -> str:
    """A cell without what nobody sees: blanks around it, odd kinds of blanks in it, marks of no width."""
    return cell.translate(_INVISIBLE).translate(_BLANKS).strip()


def plain(cell: str) -> str:
    """What a cell says: `="…"` opened, and the apostrophe taken away that guards a formula or a number.

    The apostrophe of a name such as 't Hooft stays: only that of `harmless` goes, and a spreadsheet's.
    """
    text = visible(cell)
    if text.startswith('="') and text.endswith('"') and len(text) > 2:
        text = visible(text[2:-1].replace('""', '"'))
    if text[:1] == "'" and (text[1:2] in tuple(_FORMULA) or text[1:2].isdigit()):
        text = text[1:]
    return text


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; `plain` takes the apostrophe away again."""
    return f"'{cell}" if cell and cell[0] in _FORMULA else cell


def heading_key(cell: str) -> str:
    """A heading as it is compared: without blanks, signs and case."""
    return re.sub(r"[\W_]", "", cell).lower()


def printable(text: str) -> str:
    """For showing on one line."""
    return "".join(c if c.isprintable() else " " for c in text)


class _Line:
    """What csv.writer writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def written(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A CSV file, line by line, each cell harmless; its mark tells spreadsheets that it is UTF-8."""
    writer = csv.writer(_Line())
    yield "\ufeff" + writer.writerow(headings)
    for row in rows:
        yield writer.writerow([harmless(cell) for cell in row])
