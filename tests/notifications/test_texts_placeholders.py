"""The language of texts: words with variables, and no way to anything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import gsm7, placeholders, wording
from notifications.kinds import KINDS, VARIABLES
from notifications.models import MessageTemplate

Part = MessageTemplate.Part
FACTS = {"account": "A & <b>B", "link": "https://x.example/m/1/", "reply": "", "waiting": "3 wait."}


def test_facts_are_put_in_once_and_unknown_names_stay() -> None:
    facts = {"who": "{link}", "link": "secret"}
    assert placeholders.filled("{who} did {nothing} {0} {who.x} {{who}}", facts) == (
        "{link} did {nothing} {0} {who.x} {{link}}"
    )


def test_a_line_of_empty_variables_is_left_out_with_the_blank_one_after_it() -> None:
    source = "{account}\n\nIt said: {reply}\n\n{waiting} {reply}\nBye"
    assert placeholders.filled(source, FACTS) == "A & <b>B\n\n3 wait.\nBye"
    assert placeholders.filled("{reply}\n\n\nHello", FACTS) == "Hello"


def test_a_mail_is_made_of_escaped_paragraphs_and_a_button() -> None:
    source = "{account} <i>\nline two\n\nOpen it: {link}\nSmall {reply}\n\nin words {link}, too"
    shown = placeholders.paragraphs(source, FACTS | {"reply": "<x>"})
    assert [one.style for one in shown] == ["lead", "button", "small", "small"]
    assert shown[0].html == "A &amp; &lt;b&gt;B &lt;i&gt;<br>line two"
    assert (shown[1].html, shown[1].link) == ("Open it", "https://x.example/m/1/")
    assert shown[2].html == "Small <samp>&lt;x&gt;</samp>"
    assert shown[3].html.count('<a href="https://x.example/m/1/">https://x.example/m/1/</a>') == 1


@given(st.text(), st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text()))
def test_no_fact_and_no_source_brings_markup_of_its_own(source: str, facts: dict[str, str]) -> None:
    for one in placeholders.paragraphs(source, facts):
        bare = re.sub(r'</?samp>|<br>|<a href="[^"<>]*">|</a>', "", one.html)
        assert "<" not in bare
        assert '"' not in bare


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{{ account.users }}", ["{{ account.users }}"]),
        ("{account.pk} {settings}", ["{account.pk}", "{settings}"]),
        ("{% load x %}{account}", ["{% load x %}"]),
        ("{0}{} {account!r}", ["{0}", "{}", "{account!r}"]),
        ("{account", ["{"]),
        ("{closed}", ["{closed}"]),
        ("fine {account} 100 % $account", []),
    ],
)
def test_whatever_is_no_variable_of_the_kind_is_refused_by_its_name(source: str, named: list[str]) -> None:
    assert placeholders.unknown(source, set(KINDS["outage"].variables)) == named
    found = wording.problems("outage", Part.TEXT, source + " {link}")
    assert found == [f"{one} is not a variable of this message." for one in named]


@pytest.mark.parametrize(
    ("kind", "part", "body", "problem"),
    [
        ("outage", Part.SMS, "{account} is down", "The link is missing"),
        ("outage", Part.TEXT, "{account} is down", "The link is missing"),
        ("outage", Part.SUBJECT, "{account} is down", None),
        ("recovery", Part.SMS, "{account} is up", None),
        ("outage", Part.SUBJECT, "Down\nBcc: all@example.org", "one line"),
        ("outage", Part.SUBJECT, "x" * 201, "201 characters; at most 200"),
        ("outage", Part.TEXT, "{link}" + "x" * 9_995, "10001 characters"),
        ("outage", Part.SMS, "{link}" + "x" * 2_000, "2006 characters, which is an SMS of 14 segments"),
        ("outage", Part.SMS, "{link}" + "x" * (4 * 153 - 4), None),
        ("outage", Part.SMS, "{link}" * 800, "4800 characters"),
        ("outage", Part.SMS, "{link}" + "ш" * (4 * 67), "of 5 segments; at most 4"),
        ("outage", Part.TEXT, "{link} \x07", "cannot be sent"),
        ("outage", Part.TEXT, " \n ", "It is empty"),
        ("nonsense", Part.TEXT, "{link}", "no message of this kind"),
    ],
)
def test_what_a_text_must_keep_to(kind: str, part: Part, body: str, problem: str | None) -> None:
    found = wording.problems(kind, part, body)
    assert bool(found) == bool(problem)
    assert problem is None or problem in found[0]


@pytest.mark.parametrize(
    ("text", "units", "segments", "forcing"),
    [
        ("", 0, 1, ()),
        ("x" * 160, 160, 1, ()),
        ("x" * 161, 161, 2, ()),
        ("x" * 306, 306, 2, ()),
        ("x" * 307, 307, 3, ()),
        ("€" * 80, 160, 1, ()),
        ("€" * 81, 162, 2, ()),
        ("x" * 152 + "€" + "x" * 152, 306, 3, ()),  # the escape and its character stay together
        ("š" * 70, 70, 1, ("š",)),
        ("š" * 71, 71, 2, ("š",)),
        ("šx€" * 45, 135, 3, ("š",)),
        ("🙂" * 35, 70, 1, ("🙂",)),
        ("🙂" * 36, 72, 2, ("🙂",)),
        ("🙂" * 67, 134, 3, ("🙂",)),  # 33 pairs in each segment
        ("aшbщшc", 6, 1, ("ш", "щ")),
    ],
)
def test_segments(text: str, units: int, segments: int, forcing: tuple[str, ...]) -> None:
    assert gsm7.counted(text) == gsm7.Count(units, segments, forcing)


@given(st.text(max_size=700))
def test_segments_have_room_for_the_text(text: str) -> None:
    count = gsm7.counted(text)
    alone, of_several = count.limits
    room = alone if count.segments == 1 else of_several * count.segments
    assert count.units <= room
    assert count.segments == 1 or count.units > (of_several - 1) * (count.segments - 1)
    assert count.forcing or count.units == gsm7.length(text)


def test_told_in_words() -> None:
    assert wording.told(gsm7.counted("x" * 143)) == "1 segment: 143 of 160 characters"
    assert wording.told(gsm7.counted("ш" * 71)) == "2 segments: 71 characters, 67 in each"
