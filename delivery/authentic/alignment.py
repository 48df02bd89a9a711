"""Which domains belong together, and DMARC's verdict (RFC 7489)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.errors import MessageError
from email.utils import getaddresses
from functools import cache, lru_cache

import idna
from publicsuffixlist import PublicSuffixList

from delivery.authentic.dkim import Dkim
from delivery.authentic.resolver import Resolver
from delivery.authentic.spf import Spf

_FROM = re.compile(rb"^From[ \t]*:[ \t]*([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_LONGEST_FROM = 4096
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")


@dataclass(frozen=True, slots=True)
class Dmarc:
    """`result` in the words of RFC 8601 2.7.x (IANA: pass, fail, none, temperror, permerror)."""

    result: str
    domain: str
    policy: str = ""


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=True)


@lru_cache(maxsize=8192)
def organisation(domain: str) -> str:
    """The domain that somebody registered: example.co.uk of news.example.co.uk. Lower case, A-labels."""
    return str(_suffixes().privatesuffix(domain) or domain)


def aligned(one: str, other: str, *, strict: bool = False) -> bool:
    """Whether two domains (lower case, A-labels) are of the same organisation, or, `strict`, the same."""
    return bool(one) and (one == other or (not strict and organisation(one) == organisation(other)))


def from_domain(headers: bytes) -> str:
    """The domain of the header From in lower case and A-labels; empty when there is not exactly one."""
    fields = _FROM.findall(headers)
    if len(fields) != 1 or len(fields[0]) > _LONGEST_FROM:
        return ""
    try:
        addresses = getaddresses([fields[0].decode("utf-8", "replace").replace("\r\n", "")])
    except (MessageError, ValueError, IndexError, RecursionError):
        return ""
    domains = {address.rpartition("@")[2] for _name, address in addresses if "@" in address}
    if len(domains) != 1:
        return ""
    domain = domains.pop().lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return ""
    return domain if _DOMAIN.fullmatch(domain) else ""


async def check_dmarc(resolver: Resolver, domain: str, spf: Spf, signatures: Iterable[Dkim]) -> Dmarc:
    """What the owner of the From domain's policy makes of the results. `domain` may be empty: none."""
    if not domain:
        return Dmarc("none", "")
    records: list[dict[str, str]] = []
    for owner in dict.fromkeys((domain, organisation(domain))):
        answer = await resolver.ask((f"_dmarc.{owner}", "TXT"))
        if answer.failed:
            return Dmarc("temperror", domain)
        records = [tags for value in answer.values if (tags := _tags(value))]
        if records:
            break
    if len(records) != 1:  # none, or several: RFC 7489 6.6.3
        return Dmarc("none", domain)
    (tags,) = records
    passed = (spf.passed and aligned(spf.domain.lower(), domain, strict=tags.get("aspf") == "s")) or any(
        signature.passed and aligned(signature.domain, domain, strict=tags.get("adkim") == "s")
        for signature in signatures
    )
    return Dmarc("pass" if passed else "fail", domain, tags.get("p", ""))


def _tags(record: bytes) -> dict[str, str]:
    """The tags of a DMARC record, lower case; empty when it is none."""
    text = record.decode("ascii", "replace").lower()
    if not re.match(r"v\s*=\s*dmarc1\s*(;|$)", text):
        return {}
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}
