"""The alphabets of an SMS (3GPP TS 23.038), pure: 160 characters of GSM-7 fit one segment, 70 of UCS-2."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

SEGMENT = 160
# Of a message in several segments each carries a header (3GPP TS 23.040, 9.2.3.24.1).
SEGMENT_OF_SEVERAL = 153
UCS2_SEGMENT = 70
UCS2_SEGMENT_OF_SEVERAL = 67

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


@dataclass(frozen=True)
class Count:
    """What a text takes as an SMS: `units` are GSM-7 septets, or the 16-bit units of UCS-2.

    `forcing` are the characters outside GSM-7 for whose sake all of it goes in UCS-2, each once.
    """

    units: int
    segments: int
    forcing: tuple[str, ...]

    @property
    def limits(self) -> tuple[int, int]:
        """How many units fit one segment alone, and each of several."""
        return (UCS2_SEGMENT, UCS2_SEGMENT_OF_SEVERAL) if self.forcing else (SEGMENT, SEGMENT_OF_SEVERAL)


def counted(text: str) -> Count:
    """What `text` takes. No segment ends between an escape and its character, or within a surrogate pair."""
    forcing = tuple(dict.fromkeys(one for one in text if one not in _BASIC and one not in _EXTENDED))
    sizes = [1 + (ord(one) > 0xFFFF) if forcing else 1 + (one in _EXTENDED) for one in text]
    count = Count(sum(sizes), 1, forcing)
    alone, of_several = count.limits
    if count.units <= alone:
        return count
    segments, taken = 1, 0
    for size in sizes:
        if taken + size > of_several:
            segments, taken = segments + 1, 0
        taken += size
    return Count(count.units, segments, forcing)
