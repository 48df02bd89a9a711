"""The alphabet of an SMS (3GPP TS 23.038), pure: 160 characters of it fit one segment."""

from __future__ import annotations

import unicodedata

SEGMENT = 160

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")  # an escape in front: two characters each
_ALIKE = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "..."})


def length(text: str) -> int | None:
    """Characters that `text` takes in GSM-7, or None when it needs UCS-2."""
    if any(character not in _BASIC and character not in _EXTENDED for character in text):
        return None
    return len(text) + sum(character in _EXTENDED for character in text)


def fits(text: str) -> bool:
    """Whether `text` is one GSM-7 segment."""
    taken = length(text)
    return taken is not None and taken <= SEGMENT


def likened(text: str) -> str:
    """`text` with characters outside GSM-7 put as their nearest inside, where there is one (š as s)."""
    parts = []
    for character in text.translate(_ALIKE):
        if character in _BASIC or character in _EXTENDED:
            parts.append(character)
            continue
        base = unicodedata.normalize("NFKD", character)
        kept = "".join(part for part in base if part in _BASIC)
        parts.append(kept or character)
    return "".join(parts)


def only(text: str) -> str:
    """`text` with what GSM-7 does not have left out."""
    return "".join(part for part in likened(text) if part in _BASIC or part in _EXTENDED)


def clipped(text: str, room: int) -> str:
    """The beginning of `text` (in GSM-7) that takes at most `room` characters, with dots when cut."""
    if (length(text) or 0) <= room:
        return text
    while text and (length(text) or 0) > room - 2:
        text = text[:-1]
    return f"{text.rstrip()}.."
