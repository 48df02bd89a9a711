"""Text of unknown origin made fit for headers and MIME parts."""

from __future__ import annotations

import re

LONGEST_LINE = 998  # bytes without CRLF (RFC 5321 4.5.3.1.6)
_WRAP = 72
_SPACES = re.compile(r"\s+")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UNICODE = re.compile(r"\\x\{([0-9A-F]{1,6})\}")


def one_line(text: str, *, utf8: bool = False) -> str:
    """The text without line ends and control characters; ASCII, with ? for the rest, unless `utf8`."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
    text = _SPACES.sub(" ", text).strip()
    return text if utf8 else text.encode("ascii", "replace").decode()


def folded(name: str, value: str) -> str:
    """A header field whose value is folded where it has spaces; CRLF at the end."""
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        for piece in _pieces(word):
            if len(line) + 1 + len(piece) > _WRAP and line.strip() and line != f"{name}:":
                lines.append(line)
                line = ""
            line += f" {piece}"
    return "\r\n".join([*lines, line]) + "\r\n"


def _pieces(word: str) -> list[str]:
    most = LONGEST_LINE // 4 - 60  # characters, of four bytes at most
    return [word[start : start + most] for start in range(0, len(word), most)] or [""]


def from_xtext(text: str) -> str:
    """RFC 3461 xtext and RFC 6533 `\\x{…}` decoded; as it came where that gives what cannot be printed."""
    try:
        plain = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
        plain = _UNICODE.sub(lambda found: chr(int(found[1], 16)), plain)
    except (ValueError, OverflowError):
        return text
    return plain if plain.isprintable() else text


def utf8_address(address: str) -> str:
    """An address in the ASCII form `utf-8-addr-xtext` (RFC 6533 3)."""
    return "".join(c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):02X}}}" for c in address)


def is_plain(data: bytes, *, eight_bit: bool = False) -> bool:
    """Whether data can go as it is: whole CRLF lines of at most 998 bytes, no NUL, 7-bit or 8-bit."""
    if not (eight_bit or data.isascii()) or b"\0" in data:
        return False
    lines = data.split(b"\r\n")
    return all(len(line) <= LONGEST_LINE and b"\r" not in line and b"\n" not in line for line in lines)


def quoted_printable(data: bytes) -> bytes:
    """RFC 2045 6.7 of text of any kind: CRLF and bare LF are line ends, all else survives byte for byte."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    return b"\r\n".join(map(_quoted_line, lines))


def _quoted_line(line: bytes) -> bytes:
    whole, part = [], bytearray()
    for place, byte in enumerate(line):
        literal = (33 <= byte <= 126 and byte != 61) or (byte in b" \t" and place + 1 < len(line))
        piece = bytes([byte]) if literal else b"=%02X" % byte
        if len(part) + len(piece) > 75:
            whole.append(bytes(part) + b"=")
            part.clear()
        part += piece
    return b"\r\n".join([*whole, bytes(part)])
