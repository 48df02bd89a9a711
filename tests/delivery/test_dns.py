"""DNS is asked where the settings say, once in a while, and its failures are told apart."""

from __future__ import annotations

import asyncio

import dns.resolver
import pytest

from delivery.dns import async_resolver, resolver, server_of
from tests.support.dns import dns_server


def test_both_resolvers_ask_the_servers_of_the_settings_and_share_what_they_learn() -> None:
    with dns_server() as server:
        server.add("example.org", "MX", "10 mx1.example.org.", "20 mx2.example.org.")

        async def ask() -> list[str]:
            return sorted(
                str(record.exchange) for record in await async_resolver().resolve("example.org", "MX")
            )

        assert asyncio.run(ask()) == ["mx1.example.org.", "mx2.example.org."]
        assert len(resolver().resolve("example.org", "MX")) == 2
        assert server.questions == [("example.org", "MX")]


def test_what_is_not_there_and_what_does_not_answer_are_two_things() -> None:
    with dns_server() as server:
        server.add("example.org", "A", "127.0.0.1")
        server.fail("broken.example")
        with pytest.raises(dns.resolver.NXDOMAIN):
            resolver().resolve("nowhere.example", "MX")
        with pytest.raises(dns.resolver.NoAnswer):
            resolver().resolve("example.org", "MX")
        with pytest.raises(dns.resolver.NoNameservers):
            resolver().resolve("broken.example", "MX")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
    ],
)
def test_a_server_is_written_with_or_without_its_port(text: str, expected: tuple[str, int]) -> None:
    assert server_of(text) == expected
