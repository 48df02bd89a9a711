"""SPF (RFC 7208) by pyspf, on DNS answers of our own resolver."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

import spf

from delivery.authentic.resolver import LONGEST_TEXT, Answer, Question, Resolver

log = logging.getLogger(__name__)

# RFC 7208 4.6.4 allows ten mechanisms that look up, of which an MX or PTR may look up ten more.
MOST_QUESTIONS = 120
MOST_SECONDS = 20.0
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Spf:
    """`result` in the words of RFC 8601 2.7.2; `domain` is what was checked: the sender's, or the HELO."""

    result: str
    domain: str
    identity: Literal["mailfrom", "helo"]

    @property
    def passed(self) -> bool:
        return self.result == "pass"


class _Missing(Exception):  # noqa: N818  (a question, not an error)
    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class _Query(spf.query):  # type: ignore[misc]
    """An evaluation that knows only what the resolver knows already, and raises _Missing for the rest."""

    def __init__(self, resolver: Resolver, failures: dict[Question, Answer], **identity: str) -> None:
        super().__init__(**identity)
        self._resolver = resolver
        self._had = failures

    def dns(self, name: Any, qtype: Any, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        name = str(name).removesuffix(".").lower()
        if not all(0 < len(label) < 64 for label in name.split(".")):
            return []
        question: Question = (name, qtype)
        answer = self._had.get(question) or self._resolver.known(question)
        if answer is None:
            raise _Missing(question)
        if any(len(value) >= LONGEST_TEXT for value in answer.values if isinstance(value, bytes)):
            raise spf.PermError("record too long")  # its evaluation would take too long, too
        if answer.failed:
            raise spf.TempError(f"no answer for {name} {qtype}")
        if not answer.values and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("too many look-ups without an answer")
        return [(value,) for value in answer.values] if qtype == "TXT" else list(answer.values)

    def get_explanation(self, spec: Any) -> None:
        """Nobody is told the domain's explanation: it is not looked up."""


async def check_in_time(resolver: Resolver, address: str, sender: str, domain: str, helo: str) -> Spf:
    """`check_spf`, or a temporary error after `MOST_SECONDS`."""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            return await check_spf(resolver, address, sender, domain, helo)
    except TimeoutError:
        return Spf("temperror", domain if sender else helo, "mailfrom" if sender else "helo")


async def check_spf(resolver: Resolver, address: str, sender: str, domain: str, helo: str) -> Spf:
    """Evaluate the sender's domain (`domain`, A-labels) for the client, or the HELO name for a null sender.

    pyspf asks one question after the other and waits for each. Here it runs on what is known; for what is
    missing it is stopped, the answer fetched, and it runs again: a fraction of a millisecond each time, and
    no thread is held while the DNS takes its time.
    """
    identity: Literal["mailfrom", "helo"] = "mailfrom" if sender else "helo"
    checked = domain if sender else helo
    if not _HOST.fullmatch(checked):
        return Spf("none", checked, identity)
    whole = f"{sender.rpartition('@')[0]}@{domain}" if sender else ""
    had: dict[Question, Answer] = {}  # what was fetched stays, even if it may not be kept for others
    for _ in range(MOST_QUESTIONS):
        try:
            result = _Query(resolver, had, i=address, s=whole, h=helo).check()[0]
        except _Missing as missing:
            had[missing.question] = await resolver.ask(missing.question)
        except Exception as error:  # hostile records: pyspf lets some errors through
            log.info("SPF of %s cannot be evaluated: %s", checked, type(error).__name__)
            return Spf("permerror", checked, identity)
        else:
            return Spf(result if result != "ambiguous" else "permerror", checked, identity)
    return Spf("permerror", checked, identity)
