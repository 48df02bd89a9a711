"""Lists of recipients as people really have them."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.csv_files import MOST_LINES, Unreadable, decode
from delivery.recipients_import import Why, normalise, read_list

PLAIN = "anna@example.org\nbob@example.org\n"
BOTH = ["anna@example.org", "bob@example.org"]


def read(text: str, encoding: str = "utf-8") -> list[str]:
    return read_list(text.encode(encoding), "example.org").addresses


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (PLAIN.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + PLAIN.encode(), "utf-8"),
        (PLAIN.encode("utf-16"), "utf-16-le"),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "utf-16-be"),
        (PLAIN.encode("utf-16-le"), "utf-16-le"),
        (PLAIN.encode("utf-16-be"), "utf-16-be"),
        (b"J\xfcrgen;anna@example.org\nRen\xe9;bob@example.org\n", "cp1252"),
        ("Jürgen;anna@example.org\nRené;bob@example.org\n".encode(), "utf-8"),
    ],
)
def test_encodings(data: bytes, encoding: str) -> None:
    listing = read_list(data, "example.org")
    assert (listing.addresses, listing.encoding) == (BOTH, encoding)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["Name{s}E-Mail{s}Tel\n", ""])
def test_separators_headers_and_line_ends(separator: str, header: str, line_end: str) -> None:
    text = header + "Anna A{s}anna@example.org{s}1\nBob{s}bob@example.org{s}2\n"
    listing = read_list(text.format(s=separator).replace("\n", line_end).encode(), "example.org")
    assert (listing.addresses, listing.separator) == (BOTH, separator)
    assert listing.heading == ("E-Mail" if header else "")
    assert listing.lines == 2


@pytest.mark.parametrize("told", ["sep=;\r\n", '"sep=;"\r\n', "SEP=;\n"])
def test_excel_says_its_separator(told: str) -> None:
    listing = read_list(f'{told}Name;Mail\n"A, B, C";anna@example.org\nx;nobody\n'.encode(), "example.org")
    assert (listing.separator, listing.addresses) == (";", ["anna@example.org"])
    assert [line.number for line in listing.shown] == [4], "lines are counted as the file has them"


@pytest.mark.parametrize(
    "text",
    [
        '"anna@example.org","bob@example.org"\n'.replace('","', '"\n"'),
        '"Doe, Anna",anna@example.org\n"Roe, ""Bob""",bob@example.org\n',
        "anna@example.org\n\n  \n;;;\nbob@example.org",
        "anna@example.org;;;\nbob@example.org;;;\n",
        'Anna <anna@example.org>\n"Bob, R." <bob@example.org>\n',
        "SMTP:anna@example.org\nsmtp:bob@example.org\n",
        "mailto:anna@example.org\nmailto: bob@example.org\n",
        "'anna@example.org\n'bob@example.org'\n",
        "ANNA@Example.ORG\nBob@EXAMPLE.org.\n",
        "\u200banna@example.org\xa0\n bob@example.org \n",
        "anna@example.org\nbob@example.org\nANNA@example.org\n",
        "Alias,PrimarySmtpAddress,EmailAddresses\na,anna@example.org,x@y.z\nb,bob@example.org,\n",
        'Proxies\n"SMTP:anna@example.org,smtp:bob@example.org,X500:/o=a@b,SIP:anna@example.org"\n',
        "anna@example.org; bob@example.org\n".replace("; ", "\n"),
        "Adressen\nanna@example.org\nbob@example.org\n",
    ],
)
def test_what_people_have(text: str) -> None:
    assert read(text) == BOTH


def test_what_is_refused_has_its_line_and_reason() -> None:
    text = (
        "Name,Mail\n"
        'Anna,"anna@example.org"\n'
        '"Two\nlines",bob@example.org\n'
        "Carl,carl@elsewhere.example\n"
        "Dora,\n"
        "Emil,emil at example.org\n"
        "Fay,fay@sub.example.org\n"
        "Gus,.gus@example.org\n"
        "Anna again,Anna@example.org\n"
    )
    listing = read_list(text.encode(), "example.org")
    assert listing.addresses == BOTH
    assert (listing.lines, listing.duplicates) == (8, 1)
    assert [(line.number, line.why) for line in listing.shown] == [
        (5, Why.OTHER_DOMAIN),
        (6, Why.NO_ADDRESS),
        (7, Why.INVALID),
        (8, Why.OTHER_DOMAIN),
        (9, Why.INVALID),
    ]
    assert listing.shown[1].text == "Dora"
    assert listing.refused[Why.OTHER_DOMAIN] == 2


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("o'neill+x@example.org", "o'neill+x@example.org"),
        ('"a b"@example.org', "a b@example.org"),
        ("jürgen@example.org", "jürgen@example.org"),
        ("anna@exämple.example", Why.OTHER_DOMAIN),
        ("anna@example.org@example.org", Why.INVALID),
        ("<anna@example.org> SIZE=1", Why.INVALID),
        ("@relay:anna@example.org", Why.INVALID),
        ("@example.org", Why.INVALID),
        ("anna@", Why.INVALID),
        ("anna..b@example.org", Why.INVALID),
        ("x" * 64 + "@example.org", "x" * 64 + "@example.org"),
        ("x" * 65 + "@example.org", Why.INVALID),
        ("<>", Why.NO_ADDRESS),
        ("anna@[192.0.2.1]", Why.OTHER_DOMAIN),
        ("anna\n@example.org", Why.INVALID),
        ("=HYPERLINK(1)@example.org", Why.INVALID),
    ],
)
def test_one_cell(cell: str, expected: str) -> None:
    assert normalise(cell, "example.org") == expected


def test_an_international_domain_is_compared_as_it_is_stored() -> None:
    assert normalise("anna@Bücher.example", "xn--bcher-kva.example") == "anna@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\n\n ;;\n", "empty"),
        (b"PK\x03\x04" + bytes(2000), "binary"),
        (b"\xd0\xcf\x11\xe0" + b"\x01" * 200, "binary"),
        (bytes(range(256)) * 20, "binary"),
        (b'a@example.org\n"b@example.org\n' + b"c@example.org\n" * 30_000, "quote"),
        (b'a@example.org\n"b@example.org\n' + b"c@example.org\n" * 30, "quote"),
        (b"a@example.org\n" * (MOST_LINES + 1), "too_long"),
        (b"x" * (33 * 1024 * 1024), "too_long"),
    ],
)
def test_files_that_cannot_be_used(data: bytes, why: str) -> None:
    with pytest.raises(Unreadable) as told:
        read_list(data, "example.org")
    assert told.value.why == why
    if why == "quote":
        assert told.value.line == 2


def test_two_hundred_thousand_lines_take_seconds() -> None:
    data = "".join(f"Name {n},user{n}@example.org\n" for n in range(MOST_LINES)).encode()
    began = time.process_time()
    listing = read_list(data, "example.org")
    assert len(listing.addresses) == MOST_LINES
    assert time.process_time() - began < 8


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        listing = read_list(data, "example.org")
    except Unreadable:
        return
    for address in listing.addresses:
        assert address.endswith("@example.org")
        assert "\0" not in address
        assert address == address.lower()
    assert sum(listing.refused.values()) >= len(listing.shown)


labels = st.text(max_size=12).filter(lambda text: "@" not in text and text.isprintable())
names = st.from_regex(r"[a-z0-9][a-z0-9.+_-]{0,20}", fullmatch=True).filter(
    lambda name: ".." not in name and not name.endswith(".")
)


@given(
    st.lists(st.tuples(labels, names), min_size=2),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_spreadsheet_writes_is_read(
    rows: list[tuple[str, str]], separator: str, encoding: str
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(["Name", "E-mail"])
    writer.writerows([name, f"{local}@example.org"] for name, local in rows)
    listing = read_list(written.getvalue().encode(encoding), "example.org")
    assert listing.addresses == list(dict.fromkeys(f"{local}@example.org" for _name, local in rows))


def test_decoding_never_fails_on_text() -> None:
    assert decode(b"\x81\x8d\xe4")[1] == "cp1252"
