"""Paths and parameters of MAIL and RCPT (RFC 5321 4.1.2, RFC 3461, RFC 6531)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from delivery.gateway.refusal import SYNTAX, Refusal

LONGEST = 320  # characters; what the database keeps

# Nearly every path is of this form; the second pattern is the whole grammar, wider where real mail is
# (dots anywhere in the local part, no angle brackets, a space after the colon).
_USUAL = re.compile(r"<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@([A-Za-z0-9.-]+)>(?: (.*))?")
_ATOM = r"[^\s\"(),:;<>@\[\]\\\x00-\x1f\x7f]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_DOMAIN = rf"(?:{_ATOM}|\[[A-Za-z0-9.:-]+\])"
_MAILBOX = rf"({_ATOM}|{_QUOTED})(?:@({_DOMAIN}))?"
_PATH = re.compile(rf"\s*(?:<(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?{_MAILBOX}>|{_MAILBOX})(?:\s+(.*))?")
_NULL = re.compile(r"\s*<\s*>(?:\s+(.*))?")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=][^\s]*))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT = re.compile(r"[A-Za-z0-9-]+;(?:[!-*,-<>-~\u0080-\U0010ffff]|\+[0-9A-F]{2}|\\x\{[0-9A-F]+\})+")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address as the client wrote it. `domain` is empty for <postmaster> only."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def local_key(self) -> str:
        """The local part for comparing: without quoting, lower case."""
        local = self.local
        if local.startswith('"'):
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        return local.lower()


@lru_cache(maxsize=4096)
def domain_key(domain: str) -> str:
    """The domain for comparing: A-labels in lower case. Raises Refusal where there can be none."""
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise Refusal("553 5.1.3 The domain of this address is not valid") from None


def parse_path(text: str) -> tuple[Mailbox | None, str]:
    """What follows FROM: or TO: as mailbox and parameters; None is the null path <>. Raises Refusal."""
    if usual := _USUAL.fullmatch(text):
        mailbox, parameters = Mailbox(usual[1], usual[2]), usual[3]
    elif null := _NULL.fullmatch(text):
        return None, null[1] or ""
    elif path := _PATH.fullmatch(text):
        mailbox, parameters = Mailbox(path[1] or path[3], path[2] or path[4] or ""), path[5]
    else:
        raise Refusal("553 5.1.3 This is not an address")
    if len(mailbox.local) + len(mailbox.domain) >= LONGEST:
        raise Refusal("553 5.1.3 Address too long")
    return mailbox, parameters or ""


def parse_parameters(text: str) -> dict[str, str]:
    """Esmtp-parameters by upper-case name; without value the value is empty. Raises Refusal."""
    found: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in found:
            raise Refusal(f"{SYNTAX} Parameters not understood")
        found[match[1].upper()] = match[2] or ""
    return found


def check_ret(value: str) -> str:
    """RFC 3461 4.3."""
    if value.upper() not in ("FULL", "HDRS"):
        raise Refusal(f"{SYNTAX} RET is FULL or HDRS")
    return value.upper()


def check_envid(value: str) -> str:
    """RFC 3461 4.4: xtext of at most 100 characters, kept in its encoded form."""
    if len(value) > 100 or not _XTEXT.fullmatch(value):
        raise Refusal(f"{SYNTAX} ENVID is not valid")
    return value


def check_notify(value: str) -> str:
    """RFC 3461 4.1: NEVER alone, or some of SUCCESS, FAILURE and DELAY."""
    words = value.upper().split(",")
    allowed = {"SUCCESS", "FAILURE", "DELAY"}
    if words != ["NEVER"] and (len(words) != len(set(words)) or not set(words) <= allowed):
        raise Refusal(f"{SYNTAX} NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")
    return ",".join(words)


def check_orcpt(value: str) -> str:
    """RFC 3461 4.2 and RFC 6533: address type and xtext, at most 500 characters, kept encoded."""
    if len(value) > 500 or not _ORCPT.fullmatch(value):
        raise Refusal(f"{SYNTAX} ORCPT is not valid")
    return value
