"""Files of people as spreadsheets and directories leave them: no database."""

from __future__ import annotations

import pytest

from accounts.addresses import Unusable
from accounts.csv_files import Unreadable, decode, harmless, plain, written
from accounts.people import phones
from accounts.people.reading import Known, Line, Repeated, Wrong, changes, group_names, lines, table

DOMAINS = ["example.org", "xn--bcher-kva.example"]


def read(text: str, country: str = "DE") -> list[Line | Wrong | Repeated]:
    return list(lines(table(text), DOMAINS, country))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators(encoding: str, separator: str) -> None:
    rows = [["E-Mail", "Vorname", "Nachname"], ["jürgen@bücher.example", "Jürgen", "Müller"]]
    text, _name = decode("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    # A local part outside ASCII is nothing that every mail server takes.
    (wrong,) = read(text)
    assert isinstance(wrong, Wrong)
    text = text.replace("jürgen@", "juergen@")
    assert read(text) == [Line(2, "juergen@xn--bcher-kva.example", "Jürgen Müller")]


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("+49 170 1234567", "", "+491701234567"),
        ("0049 170 1234567", "", "+491701234567"),
        ("+49 (0) 170 1234567", "", "+491701234567"),
        ("0170/1234567", "DE", "+491701234567"),
        ("1701234567", "DE", "+491701234567"),  # the zero lost
        ("491701234567", "DE", "+491701234567"),  # the plus lost
        ("491701234567", "", "+491701234567"),
        ("491701234567.0", "", "+491701234567"),  # a number with decimals
        ("436641234567", "DE", "+436641234567"),  # an Austrian mobile phone, not somebody in Holstein
        ("(202) 555-0123", "US", "+12025550123"),
    ],
)
def test_phone_numbers(written: str, country: str, number: str) -> None:
    assert phones.from_file(written, country) == number


@pytest.mark.parametrize("written", ["4.91701E+11", "4,92E+11", "0170 1234567", "Handy", "12"])
def test_no_phone_number(written: str) -> None:
    with pytest.raises(Unusable):
        phones.from_file(written, "")


def test_cells_of_spreadsheets() -> None:
    assert plain('="0170123"') == "0170123"
    assert plain("'+49170") == "+49170"
    assert plain("'0170") == "0170"
    assert plain("\u00a0 Anna\u202fBerg\u200b ") == "Anna Berg"
    assert plain("'t Hooft") == "'t Hooft"


@pytest.mark.parametrize("cell", ["=1+1", "+49170", "-1", "@SUM(A1)", "'t Hooft", "'=x", "''", "Anna", "'5"])
def test_what_is_exported_is_no_formula_and_comes_back(cell: str) -> None:
    assert harmless(cell)[:1] not in tuple("=+-@\t\r")
    assert plain(harmless(cell)) == cell
    line = list(written(["name"], [[cell]]))[1]
    assert line.lstrip('"')[:1] not in tuple("=+-@")


def test_each_line_in_error_says_why_and_where() -> None:
    found = read(
        "address;name;alternate e-mail;mobile;groups\n"
        "anna@example.org;Anna;anna@home.example;0170 1234567;Sales; Berlin\n"
        "\n"
        ";Nobody\n"
        "ben@elsewhere.example;Ben\n"
        "cleo@example.org;Cleo;cleo@example.org\n"
        "dora@example.org;Dora;;4.9E+11\n"
        "Eva <eva@example.org>;Eva\n"
        "EVA@example.org;Eva\n"
        "eva@example.org;Eve\n"
        f"fred@example.org;{'F' * 121}\n"
        "gina@example.org;;-;-;-\n"
    )
    assert [type(one).__name__ for one in found] == [
        "Line", "Wrong", "Wrong", "Wrong", "Wrong", "Line", "Repeated", "Wrong", "Wrong", "Line",
    ]  # fmt: skip
    assert [one.number for one in found] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    whys = [one.why for one in found if isinstance(one, Wrong)]
    told = ["no address", "your domains", "watches over", "rounded", "Line 8", "longer"]
    for why, words in zip(whys, told, strict=True):
        assert words in why
    anna, gina = found[0], found[-1]
    assert anna == Line(2, "anna@example.org", "Anna", "anna@home.example", "+491701234567", ("Sales",))
    assert gina == Line(12, "gina@example.org", None, "", "", ())
    assert Line.restored(gina.stored()) == gina


def test_a_blank_cell_leaves_and_a_hyphen_empties() -> None:
    known = Known("Anna", "a@home.example", "+491701234567", ("Sales",))
    assert changes(Line(2, "a@example.org"), known) == {}
    assert changes(Line(2, "a@example.org", "Anna", "a@home.example"), known) == {}
    assert changes(Line(2, "a@example.org", alternate="", groups=("Berlin",)), known) == {
        "alternate": ("a@home.example", ""),
        "groups": ("Sales", "Berlin"),
    }


def test_groups_of_a_cell() -> None:
    assert group_names(" Sales ;Berlin|Sales\nThe  Board") == ("Berlin", "Sales", "The Board")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), ("anna@example.org;Anna\n", "headings"), ("name;phone\n", "headings")],
)
def test_unreadable(text: str, why: str) -> None:
    with pytest.raises(Unreadable) as told:
        read(text)
    assert told.value.why == why
