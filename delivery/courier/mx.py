"""Where mail for a domain goes: its MX records (RFC 5321 5.1), or its own address where it has none."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass

import dns.rdatatype
import dns.resolver
from django.conf import settings

from delivery.dns import FAILURES, async_resolver
from delivery.models import RouteHost
from delivery.ourselves import is_our_address, is_our_name
from delivery.services.claims import Host

ADDRESSES_AT_MOST = 5  # tried for one message
_shuffle = random.SystemRandom().shuffle


class Undeliverable(Exception):  # noqa: N818  (an answer)
    """DNS says for certain that the domain takes no mail. `reply` begins with the RFC 3463 status."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.code, self.reply = 550, reply


class NoAnswer(Exception):  # noqa: N818  (an answer)
    """DNS did not say: try again later."""


@dataclass(frozen=True)
class _Exchange:
    preference: int
    name: str


async def hosts_of(domain: str) -> tuple[Host, ...]:
    """The addresses that take the domain's mail, best first, in random order among equals.

    Raises Undeliverable and NoAnswer. Answers are kept for their TTL, so this may be asked for each
    connection.
    """
    if domain.startswith("["):
        return (_literal(domain),)
    found: list[Host] = []
    away: Exception | None = None
    for exchange in await _exchanges(domain):
        try:
            addresses = await addresses_of(exchange.name)
        except FAILURES as error:
            away = error
            continue
        found += [_host(exchange.name, address) for address in addresses]
    if found:
        return tuple(found[:ADDRESSES_AT_MOST])
    if away:
        raise NoAnswer(f"The addresses of the mail servers of {domain} could not be looked up.") from away
    raise Undeliverable(f"5.4.4 The mail servers of {domain} have no address.")


def _host(name: str, address: str) -> Host:
    return Host(name, settings.MX_PORT, RouteHost.Tls.OPPORTUNISTIC, address=address)


def _literal(domain: str) -> Host:
    """RFC 5321 4.1.3."""
    text = domain.strip("[]")
    try:
        address = str(ipaddress.ip_address(text[5:] if text.lower().startswith("ipv6:") else text))
    except ValueError:
        raise Undeliverable(f"5.1.2 {domain} is not an address.") from None
    if is_our_address(address, settings.MX_PORT):
        raise Undeliverable(f"5.4.6 {domain} is this gateway itself.")
    return _host(address, address)


async def _exchanges(domain: str) -> list[_Exchange]:
    """In the order in which they are tried, down to ourselves: who prefers us less must not send to us."""
    try:
        answer = await async_resolver().resolve(domain, "MX", search=False)
    except dns.resolver.NXDOMAIN as error:
        raise Undeliverable(f"5.1.2 The domain {domain} does not exist.") from error
    except dns.resolver.NoAnswer:
        # RFC 5321 5.1: the domain itself, as if it had an MX record of preference 0.
        exchanges = [_Exchange(0, domain)]
    except (dns.name.LabelTooLong, dns.name.EmptyLabel, dns.name.NameTooLong, UnicodeError) as error:
        raise Undeliverable(f"5.1.2 {domain} is not a domain.") from error
    except FAILURES as error:
        raise NoAnswer(f"The mail servers of {domain} could not be looked up.") from error
    else:
        exchanges = [_Exchange(mx.preference, str(mx.exchange).rstrip(".")) for mx in answer]
    if [exchange.name for exchange in exchanges] == [""]:  # RFC 7505
        raise Undeliverable(f"5.1.10 The domain {domain} takes no mail.")
    _shuffle(exchanges)
    exchanges.sort(key=lambda exchange: exchange.preference)
    return await _up_to_us(domain, [exchange for exchange in exchanges if exchange.name])


async def _up_to_us(domain: str, exchanges: list[_Exchange]) -> list[_Exchange]:
    own = [exchange.preference for exchange in exchanges if await _is_us(exchange.name)]
    better = [exchange for exchange in exchanges if not own or exchange.preference < min(own)]
    if not better:
        raise Undeliverable(f"5.4.6 The mail of {domain} leads back to this gateway.")
    return better


async def _is_us(name: str) -> bool:
    if is_our_name(name):
        return True
    try:
        addresses = await addresses_of(name)
    except FAILURES:
        return False
    return any(is_our_address(address, settings.MX_PORT) for address in addresses)


async def addresses_of(name: str) -> list[str]:
    """IPv4 and IPv6 by turns, in the order of DNS. None when the name has none; raises of `FAILURES`."""
    found, failures = [], []
    for result in await asyncio.gather(_ask(name, "A"), _ask(name, "AAAA"), return_exceptions=True):
        if isinstance(result, BaseException):
            failures.append(result)
        else:
            found.append(result)
    addresses = [address for pair in zip_all(*found) for address in pair]
    if not addresses and failures:
        raise failures[0]
    return addresses


def zip_all(*lists: list[str]) -> list[list[str]]:
    """The first of each list, then the second of each."""
    return [[one[n] for one in lists if n < len(one)] for n in range(max(map(len, lists), default=0))]


async def _ask(name: str, kind: str) -> list[str]:
    try:
        answer = await async_resolver().resolve(name, kind, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    return [str(record.address) for record in answer]
