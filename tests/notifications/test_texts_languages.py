"""Languages: each says everything that alerts and the portal say, and nothing breaks without one."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation
from django.utils.translation.template import templatize

from notifications import gsm7, placeholders, texts
from notifications.kinds import KINDS
from notifications.wording import problems
from tests.notifications.test_texts import written

ROOT = Path(__file__).parents[2]
LANGUAGES = [code for code, _name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
# Whatever a contact reads in their own language.
SAID = [
    *sorted((ROOT / "templates/notifications").glob("*.txt")),
    *sorted((ROOT / "templates/events").glob("*portal*.html")),
    *(ROOT / name for name in ("events/portal.py", "events/words.py", "events/templatetags/portal.py")),
    *(
        ROOT / name
        for name in ("events/services/feed.py", "notifications/facts.py", "notifications/texts.py")
    ),
]
CALLS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "pgettext"}
# What is written for the log and the console, not for a contact.
NOT_SAID = {"There is no template %s.", "Its text could not be written: %s"}


class Missing(gettext.NullTranslations):
    """Whatever the catalogue does not have."""

    def gettext(self, message: str) -> str:
        raise LookupError(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        raise LookupError(msgid1)

    def pgettext(self, context: str, message: str) -> str:
        raise LookupError(message)


def folder(language: str) -> Path:
    return ROOT / "locale" / translation.to_locale(language) / "LC_MESSAGES"


@cache
def catalogue(language: str) -> gettext.GNUTranslations:
    with (folder(language) / "django.mo").open("rb") as file:
        found = gettext.GNUTranslations(file)
    found.add_fallback(Missing())
    return found


def calls(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The calls of gettext in a file, with their words. A template as Django hands it to gettext."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                yield node.func.id, [word for word in words if isinstance(word, str)]
        return
    string = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    source = templatize(path.read_text())
    for call in re.finditer(rf"\b(_|n?gettext)\(\s*({string})(?:,\s*({string}))?", source):
        yield call[1], [ast.literal_eval(word) for word in call.groups()[1:] if word]


def said() -> dict[str, tuple[str, list[str]]]:
    found = {words[0]: (call, words) for path in SAID for call, words in calls(path) if words}
    return {first: call for first, call in found.items() if first not in NOT_SAID}


def translations(language: str, call: str, words: list[str]) -> list[str]:
    book = catalogue(language)
    if call == "ngettext":
        return [book.ngettext(words[0], words[1], n) for n in (1, 2)]
    return [book.pgettext(*words) if call == "pgettext" else book.gettext(words[0])]


def test_the_words_of_texts_and_portal_are_found() -> None:
    found = said()
    assert len(found) > 120
    assert "{account}: {monitor} failing since {since}" in found
    assert "Activate for" in found
    assert found["%(number)s message waits"][0] == "ngettext"
    assert LANGUAGES == ["de"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_contacts_read_is_translated_with_the_same_variables(language: str) -> None:
    missing, different = [], []
    for first, (call, words) in said().items():
        try:
            found = translations(language, call, words)
        except LookupError:
            missing.append(first)
            continue
        names = placeholders.names(words[-1])
        different += [one for one in found if placeholders.names(one) != names]
    assert missing == []
    assert different == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_the_one_that_is_read(language: str) -> None:
    """`manage.py compilemessages` was run after the last change; it needs gettext, and users have none."""
    source = (folder(language) / "django.po").read_text()
    quoted = r'((?:"(?:[^"\\]|\\.)*"\n)+)'
    whole = re.compile(rf"^msgid {quoted}(?:msgid_plural {quoted})?msgstr(?:\[0\])? {quoted}", re.M)

    def text(lines: str) -> str:
        return "".join(ast.literal_eval(line) for line in lines.splitlines())

    checked = 0
    for block in source.split("\n\n")[1:]:
        entry = whole.search(block + "\n")
        if entry is None or "#, fuzzy" in block or block.startswith("#~") or not text(entry[3]):
            continue
        context = re.search(rf"^msgctxt {quoted}", block, re.M)
        words = [text(entry[1]), *([text(entry[2])] if entry[2] else [])]
        if context:
            words.insert(0, text(context[1]))
        call = "pgettext" if context else "ngettext" if entry[2] else "gettext"
        assert translations(language, call, words)[0] == text(entry[3])
        checked += 1
    assert checked > 120


@pytest.mark.parametrize("language", [settings.LANGUAGE_CODE, *LANGUAGES])
@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_text_keeps_to_what_edited_ones_must(kind: str, language: str) -> None:
    with translation.override(language):
        for part in texts.Part:
            assert problems(kind, part, texts.shipped(kind, part)) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeat", [False, True])
def test_an_sms_fits_one_segment_in_every_language(kind: str, language: str, repeat: bool) -> None:
    text = written(kind, "sms", name="Example Ltd", language=language, repeat=repeat).text
    assert gsm7.counted(text).segments == 1, text


def test_an_alert_in_german() -> None:
    message = written("outage", "email", language="de", mode_until="2026-11-25T06:12:00Z")
    assert message.subject == "Example Hospital: Exchange gestört seit 03:02 CET"
    for words in (
        "1234 Nachrichten warten, die älteste seit 45 min.",
        "Der Notbetrieb ist an, bis 25. Nov 07:12 CET.",
        "Der Mailserver sagte: 451 4.3.2",
    ):
        assert words in message.text
    assert '<html lang="de">' in message.html
    assert ">Störung verwalten</a>" in message.html
    done = written("action", "sms", language="de").text
    assert "Maria hat den Notbetrieb um 03:12 CET aktiviert, bis 07:12 CET." in done


@pytest.mark.parametrize("language", ["xx", "", "../../etc", "de-AT"])
def test_a_language_that_is_not_there_costs_no_alert(language: str) -> None:
    message = written("outage", "email", language=language)
    assert ("Exchange gestört" if language == "de-AT" else "Exchange failing") in message.subject
