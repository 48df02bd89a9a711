"""The languages that Continuity speaks: its own, and each that has a file in `locale/`."""

from __future__ import annotations

from pathlib import Path

from django.conf.locale import LANG_INFO
from django.utils.translation import to_language


def languages(folder: Path, own: str) -> list[tuple[str, str]]:
    """Code and name, in the language itself, of each; `own` first, for it needs no file."""
    found = {to_language(path.parts[-3]) for path in folder.glob("*/LC_MESSAGES/django.mo")}
    return [(code, _name(code)) for code in (own, *sorted(found - {own}))]


def _name(code: str) -> str:
    info = LANG_INFO.get(code) or LANG_INFO.get(code.partition("-")[0]) or {}
    return str(info.get("name_local", code)).capitalize()
