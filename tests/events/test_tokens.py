"""Tokens of manage links cannot be made, changed or respelled."""

from __future__ import annotations

import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from events import tokens
from events.logs import RedactTokens, redacted
from events.models import ManageLink

ids = st.integers(1, 2**63 - 1)


@given(ids)
def test_a_token_names_its_link_and_fits_into_an_sms(link_id: int) -> None:
    token = tokens.make(ManageLink(pk=link_id))
    assert tokens.read(token) == link_id
    assert re.fullmatch(r"[0-9A-Za-z]{1,11}\.[0-9A-Za-z_-]{22}", token)


@given(ids, ids)
def test_tokens_of_two_links_do_not_mix(one: int, other: int) -> None:
    first, second = tokens.make(ManageLink(pk=one)), tokens.make(ManageLink(pk=other))
    mixed = first.partition(".")[0] + "." + second.partition(".")[2]
    assert tokens.read(mixed) == (one if one == other else None)


@given(ids, st.integers(0, 33), st.characters())
def test_one_changed_character_is_enough(link_id: int, place: int, character: str) -> None:
    token = tokens.make(ManageLink(pk=link_id))
    place = min(place, len(token) - 1)
    changed = token[:place] + character + token[place + 1 :]
    assert tokens.read(changed) == (link_id if changed == token else None)


@given(st.text(max_size=60))
def test_anything_else_is_nobodys(text: str) -> None:
    assert tokens.read(text) is None


def test_a_link_has_one_spelling() -> None:
    token = tokens.make(ManageLink(pk=7))
    assert tokens.read("0" + token) is None
    assert tokens.read(token + "=") is None
    assert tokens.read(token + "\n") is None
    last = {c for c in tokens._DIGITS + "-_" if tokens.read(token[:-1] + c)}
    assert last == {token[-1]}, "the unused bits of the last character are not free"


def test_another_key_makes_other_tokens_and_an_old_key_is_still_read(settings: Settings) -> None:
    settings.SECRET_KEY = "old"
    token = tokens.make(ManageLink(pk=7))
    settings.SECRET_KEY = "new"
    assert tokens.read(token) is None
    settings.SECRET_KEY_FALLBACKS = ["old"]
    assert tokens.read(token) == 7
    assert tokens.make(ManageLink(pk=7)) != token


TOKEN = "1z.abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("Not Found: %s", (f"/m/{TOKEN}/",)),
        ("%(h)s %(r)s %(f)s", ({"h": "::1", "r": f"GET /m/{TOKEN}/ HTTP/1.1", "f": f"http://x/m/{TOKEN}/"},)),
        (f"GET http://host/m/{TOKEN}?done=100% of it", ()),
    ],
)
def test_no_token_is_logged(message: str, args: tuple[object, ...]) -> None:
    record = logging.LogRecord("gunicorn.access", logging.INFO, "", 0, message, args, None)
    assert RedactTokens().filter(record) is True
    line = logging.Formatter().format(record)
    assert TOKEN not in line
    assert "/m/[token]" in line


def test_no_token_is_in_a_traceback() -> None:
    try:
        raise ValueError(f"/m/{TOKEN}/stop/")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    RedactTokens().filter(record)
    line = logging.Formatter().format(record)
    assert TOKEN not in line
    assert "ValueError: /m/[token]/stop/" in line


def test_other_lines_stay_as_they_are() -> None:
    assert redacted("GET /queue/?m=/mail/ HTTP/1.1") == "GET /queue/?m=/mail/ HTTP/1.1"
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s of %d", ("a", 2), None)
    RedactTokens().filter(record)
    assert record.args == ("a", 2)


@pytest.mark.parametrize("name", ["gunicorn.access", "django.request"])
def test_the_loggers_that_write_paths_have_the_filter(name: str) -> None:
    assert any(isinstance(known, RedactTokens) for known in logging.getLogger(name).filters)
