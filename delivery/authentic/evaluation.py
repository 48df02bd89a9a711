"""SPF, DKIM and DMARC of one message, within one time limit, beside everything else the gateway does."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from delivery.authentic.alignment import Dmarc, aligned, check_dmarc, from_domain, organisation
from delivery.authentic.dkim import MOST_HEADERS, Dkim, Signature, signatures
from delivery.authentic.resolver import FAILED, Answer, Resolver
from delivery.authentic.results import in_words
from delivery.authentic.spf import Spf, check_in_time

log = logging.getLogger(__name__)

MOST_SECONDS = 5.0  # from the end of data; what is not known by then is a temporary error
THREADS = 2  # for hashing


@dataclass(frozen=True, slots=True)
class Verdict:
    """`authentic`: the envelope sender is who they say; None when that could not be found out, or is <>.

    `words` are the results as Authentication-Results has them.
    """

    authentic: bool | None
    words: tuple[str, ...]


UNKNOWN = Verdict(None, ())


class Evaluator:
    """Make it inside a running loop; `close` when done."""

    def __init__(self, trusted: Iterable[str], seconds: float = MOST_SECONDS) -> None:
        self.resolver = Resolver()
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted]
        self._trusts: dict[str, bool] = {}
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(THREADS, "gateway-dkim")
        organisation("example.com")  # reads the list of suffixes, before anybody waits for it

    def trusts(self, address: str) -> bool:
        """Whether the client stands in a network of our own, whose mail is not evaluated."""
        known = self._trusts.get(address)
        if known is None:
            if not address:  # no internet address at all
                return True
            if len(self._trusts) >= 10_000:
                self._trusts.clear()
            client = ipaddress.ip_address(address)
            known = self._trusts[address] = any(client in network for network in self._trusted)
        return known

    def begin(self, address: str, sender: str, domain: str, helo: str) -> asyncio.Task[Spf]:
        """Start the part that needs no message. `domain` is the sender's, in A-labels; both empty for <>."""
        return asyncio.create_task(check_in_time(self.resolver, address, sender, domain, helo))

    async def finish(
        self, spf_task: asyncio.Task[Spf], sender_domain: str, data: bytearray, start: int, helo: str
    ) -> Verdict:
        """The verdict on a message: `data` from `start` on, line ends CRLF. Never raises but when cancelled.

        `data` must stay as it is meanwhile.
        """
        until = time.monotonic() + self._seconds
        headers, body = _parted(data, start)
        found = signatures(headers) if headers is not None else [Dkim("neutral", reason="headers too large")]
        checks = asyncio.gather(*(self._signature(each, data, body, until) for each in found))
        await asyncio.wait([spf_task], timeout=self._seconds)
        spf = _result(spf_task) or Spf(
            "temperror", sender_domain or helo, "mailfrom" if sender_domain else "helo"
        )
        spf_task.cancel()
        dkim = await checks
        dmarc = await self._dmarc(from_domain(headers or b""), spf, dkim, until)
        return Verdict(_authentic(sender_domain, spf, dkim), tuple(in_words(spf, dkim, dmarc)))

    async def _signature(self, signature: Signature | Dkim, data: bytearray, body: int, until: float) -> Dkim:
        """Ends by itself soon after `until`: a thread that reads `data` cannot be left behind."""
        if isinstance(signature, Dkim):
            return signature
        try:
            async with asyncio.timeout(until - time.monotonic()):
                key = await self.resolver.ask((signature.key_name, "TXT"))
        except TimeoutError:
            key = FAILED
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _verify, signature, key, data, body, until)

    async def _dmarc(self, domain: str, spf: Spf, dkim: Sequence[Dkim], until: float) -> Dmarc:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await check_dmarc(self.resolver, domain, spf, dkim)
        except TimeoutError:
            return Dmarc("temperror", domain)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _verify(signature: Signature, key: Answer, data: bytearray, body: int, until: float) -> Dkim:
    with memoryview(data) as whole, whole[body:] as rest:
        return signature.verify(key, rest, until)


def _parted(data: bytearray, start: int) -> tuple[bytes | None, int]:
    """The headers with their last CRLF, None when there are too many, and where the body begins."""
    if data.startswith(b"\r\n", start):
        return b"", start + 2
    end = data.find(b"\r\n\r\n", start, start + MOST_HEADERS)
    if end < 0:
        small = len(data) - start <= MOST_HEADERS
        return (bytes(memoryview(data)[start:]) if small else None), len(data)
    return bytes(memoryview(data)[start : end + 2]), end + 4


def _result(task: asyncio.Task[Spf]) -> Spf | None:
    """None when it has not ended, or failed: pyspf is the work of others, and its input of anybody."""
    if not task.done() or task.cancelled():
        return None
    if error := task.exception():
        log.error("SPF failed: %s", type(error).__name__, exc_info=error)
        return None
    return task.result()


def _authentic(sender_domain: str, spf: Spf, dkim: Sequence[Dkim]) -> bool | None:
    if not sender_domain:
        return None
    if spf.passed or any(each.passed and aligned(each.domain, sender_domain) for each in dkim):
        return True
    unsure = spf.result == "temperror" or any(
        each.result == "temperror" and aligned(each.domain, sender_domain) for each in dkim
    )
    return None if unsure else False
