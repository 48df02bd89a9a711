"""The language of message texts, pure: words with `{names}` in them, and nothing else.

There are no tags, no conditions and no attributes, so that a text that somebody edited can say only what its
kind offers. A variable whose fact is missing is empty; a line that holds nothing but empty ones is left out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

NAME = re.compile(r"\{([a-z_]+)\}")
_ANY_BRACES = re.compile(r"\{+[^{}\n]{0,40}\}+|[{}]")
_BLANKS = re.compile(r"[ \t]+")
# The line of the button: the words before the link are its label.
_BUTTON = re.compile(r"(?P<label>[^{}]*?):?\s*\{link\}")


def names(source: str) -> set[str]:
    """The variables that a text uses."""
    return set(NAME.findall(source))


def unknown(source: str, known: set[str]) -> list[str]:
    """What is in braces and is none of `known`, as it was written, in the order of the text."""
    found = dict.fromkeys(_ANY_BRACES.findall(source))
    return [one for one in found if one.strip("{}") not in known or not NAME.fullmatch(one)]


def filled(source: str, facts: Mapping[str, str]) -> str:
    """The text with its facts, which are put in once: braces inside a fact stay as they are.

    A name that is no fact stays as it was written: rather an odd word than no alert. Where an empty one stood
    between words, one blank is left.
    """
    lines = _put(_kept_lines(source, facts), facts).split("\n")
    return "\n".join(_BLANKS.sub(" ", line).strip() for line in lines)


@dataclass(frozen=True)
class Paragraph:
    """A piece of an HTML mail: `html` is escaped; the button's address is `link`."""

    html: str
    style: str = ""
    link: str = ""


def paragraphs(source: str, facts: Mapping[str, str]) -> list[Paragraph]:
    """The text as parts of an HTML mail: first the `lead`, the link a `button`, `small` print after it."""
    escaped = {name: html.escape(value) for name, value in facts.items()}
    if facts.get("reply"):
        escaped["reply"] = f"<samp>{escaped['reply']}</samp>"
    if facts.get("link"):
        escaped["link"] = '<a href="{0}">{0}</a>'.format(escaped["link"])
    parts: list[Paragraph] = []
    lines: list[str] = []
    after_button = False

    def end_paragraph() -> None:
        if lines:
            style = "small" if after_button else "" if parts else "lead"
            parts.append(Paragraph("<br>".join(lines), style))
            lines.clear()

    for line in [*_kept_lines(source, facts).split("\n"), ""]:
        button = _BUTTON.fullmatch(line.strip())
        if button or not line.strip():
            end_paragraph()
        if button:
            parts.append(Paragraph(html.escape(button["label"]), "button", facts.get("link", "")))
            after_button = True
        elif line.strip():
            lines.append(_put(html.escape(line.strip()), escaped))
    return parts


def _put(source: str, facts: Mapping[str, str]) -> str:
    return NAME.sub(lambda name: facts.get(name[1], name[0]), source)


def _kept_lines(source: str, facts: Mapping[str, str]) -> str:
    kept: list[str] = []
    for line in source.replace("\r\n", "\n").strip("\n").split("\n"):
        used = names(line)
        if used and not any(facts.get(name, name) for name in used):
            continue
        # Where a line was left out, the blank one after it goes, too.
        if line.strip() or (kept and kept[-1].strip()):
            kept.append(line.rstrip())
    return "\n".join(kept).strip("\n")
