"""DNS answers for sender authentication, asked once and kept for as long as their TTL allows."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from delivery.dns import async_resolver

log = logging.getLogger(__name__)

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]
Question = tuple[str, Kind]

LOOK_UP_SECONDS = 4.0  # one question, all servers and repetitions
LONGEST_KEPT = 3600.0
SHORTEST_KEPT = 5.0
NOTHING_KEPT = 60.0  # that there is no such record
FAILURE_KEPT = 10.0  # that nobody could say
MOST_KEPT = 20_000
MOST_BYTES_KEPT = 16 * 1024 * 1024
MOST_VALUES = 50  # of one answer
LONGEST_TEXT = 4096  # bytes of one; longer ones end there, which is more than anybody accepts

# When so many questions in a row were not answered at all, the DNS is taken to be away: for a while mail
# is not made to wait for it.
SILENCES = 20
AWAY_SECONDS = 5.0


class Answer(NamedTuple):
    """Values of one name and type; none when there is no such record, `failed` when nobody could say.

    A and AAAA: addresses. MX: (preference, name). PTR: names. TXT: bytes, its strings joined.
    """

    values: Sequence[Any]
    failed: bool = False


NOTHING = Answer(())
FAILED = Answer((), failed=True)


class Resolver:
    """Asks through `delivery.dns`, and keeps values, not packets, and failures, too."""

    def __init__(self) -> None:
        self._kept: dict[Question, tuple[float, Answer]] = {}
        self._bytes = 0
        self._asked: dict[Question, asyncio.Task[Answer]] = {}
        self._silences = 0
        self._away_until = 0.0

    def known(self, question: Question) -> Answer | None:
        """The answer if it is at hand."""
        kept = self._kept.get(question)
        return kept[1] if kept and kept[0] > time.monotonic() else None

    async def ask(self, question: Question) -> Answer:
        """The answer; never raises but when cancelled. Whoever asks the same meanwhile shares it."""
        answer = self.known(question)
        if answer is not None:
            return answer
        if time.monotonic() < self._away_until:
            return FAILED
        task = self._asked.get(question)
        if task is None:
            task = self._asked[question] = asyncio.create_task(self._ask(question))
            task.add_done_callback(lambda _done: self._asked.pop(question, None))
        return await asyncio.shield(task)

    async def _ask(self, question: Question) -> Answer:
        answer, seconds = await self._look_up(question)
        self._bytes += _weight(question, answer)
        if len(self._kept) >= MOST_KEPT or self._bytes > MOST_BYTES_KEPT:
            self._kept.clear()
            self._bytes = 0
        self._kept[question] = (time.monotonic() + seconds, answer)
        return answer

    async def _look_up(self, question: Question) -> tuple[Answer, float]:
        """The answer, and for how many seconds it may be kept."""
        name, kind = question
        try:
            found = await self._resolver().resolve(
                dns.name.from_text(name),
                kind,
                search=False,
                raise_on_no_answer=False,
                lifetime=LOOK_UP_SECONDS,
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            self._silences = 0
            return NOTHING, NOTHING_KEPT
        except (dns.exception.Timeout, OSError):
            self._silent()
            return FAILED, FAILURE_KEPT
        except dns.resolver.NoResolverConfiguration:
            log.error("no DNS servers: set DNS_SERVERS. Senders cannot be checked")
            return FAILED, FAILURE_KEPT
        except dns.resolver.NoNameservers:  # asked and answered: SERVFAIL, REFUSED
            self._silences = 0
            return FAILED, FAILURE_KEPT
        except (dns.exception.DNSException, UnicodeError):  # a name that cannot be: too long, empty labels
            return NOTHING, NOTHING_KEPT
        self._silences = 0
        if found.rrset is None:
            return NOTHING, NOTHING_KEPT
        values = tuple(_value(record, kind) for record in list(found.rrset)[:MOST_VALUES])
        return Answer(values), min(LONGEST_KEPT, max(SHORTEST_KEPT, float(found.rrset.ttl)))

    @staticmethod
    def _resolver() -> dns.asyncresolver.Resolver:
        """Without the answers that it keeps for others: whole packets, of whose size anybody may decide."""
        resolver = copy.copy(async_resolver())
        resolver.cache = None
        return resolver

    def _silent(self) -> None:
        self._silences += 1
        if self._silences >= SILENCES:
            self._silences = 0
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("DNS does not answer: senders are not checked for %d s", AWAY_SECONDS)


def _weight(question: Question, answer: Answer) -> int:
    """Bytes of memory, roughly."""
    return 500 + len(question[0]) + sum(len(str(value)) + 60 for value in answer.values)


def _value(record: Any, kind: Kind) -> Any:
    if kind == "TXT":
        return b"".join(record.strings)[:LONGEST_TEXT]
    if kind == "MX":
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    if kind == "PTR":
        return record.target.to_text(omit_final_dot=True)
    return record.address
