"""DNS as the product asks it: the servers of DNS_SERVERS, or the system's. Answers are kept for their TTL."""

from __future__ import annotations

from functools import lru_cache

import dns.asyncresolver
import dns.resolver
from django.conf import settings

# Seconds for one server, and for a question with all its retries.
SERVER_SECONDS = 3.0
QUESTION_SECONDS = 10.0
ANSWERS_KEPT = 20_000

# Everything that dnspython raises of DNS itself, and what else a broken network brings.
FAILURES = (dns.exception.DNSException, OSError)


def resolver() -> dns.resolver.Resolver:
    """For code that may block. Raises dns.resolver.NoResolverConfiguration on a system without any."""
    return _blocking(tuple(settings.DNS_SERVERS))


def async_resolver() -> dns.asyncresolver.Resolver:
    """For code in an event loop. It shares the answers kept with `resolver()`."""
    return _in_a_loop(tuple(settings.DNS_SERVERS))


@lru_cache(maxsize=4)
def _answers(servers: tuple[str, ...]) -> dns.resolver.LRUCache:
    return dns.resolver.LRUCache(ANSWERS_KEPT)


@lru_cache(maxsize=4)
def _blocking(servers: tuple[str, ...]) -> dns.resolver.Resolver:
    made = dns.resolver.Resolver(configure=not servers)
    _configure(made, servers)
    return made


@lru_cache(maxsize=4)
def _in_a_loop(servers: tuple[str, ...]) -> dns.asyncresolver.Resolver:
    made = dns.asyncresolver.Resolver(configure=not servers)
    _configure(made, servers)
    return made


def _configure(made: dns.resolver.BaseResolver, servers: tuple[str, ...]) -> None:
    if servers:
        made.nameservers = [dns.nameserver.Do53Nameserver(*server_of(text)) for text in servers]
    made.timeout, made.lifetime = SERVER_SECONDS, QUESTION_SECONDS
    made.cache = _answers(servers)


def server_of(text: str) -> tuple[str, int]:
    """Address and port of a server written as `192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:5353`."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.lstrip(":") or 53)
    if text.count(":") > 1:
        return text, 53
    address, _, port = text.partition(":")
    return address, int(port or 53)
