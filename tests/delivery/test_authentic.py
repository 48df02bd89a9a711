"""SPF, DMARC and what follows from all of it, against a real DNS server."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delivery.authentic.alignment import aligned, check_dmarc, from_domain
from delivery.authentic.dkim import Dkim
from delivery.authentic.resolver import Resolver
from delivery.authentic.results import forged, header_field, prepend_results
from delivery.authentic.spf import Spf, check_spf
from tests.delivery.signed import DOMAIN, MAIL, SENDER, evaluate, publish, rsa_key, run, signed
from tests.support.dns import DnsServer


def spf(address: str, sender: str = SENDER, helo: str = "mx.sender.example") -> Spf:
    domain = sender.rpartition("@")[2]
    return asyncio.run(check_spf(Resolver(), address, sender, domain, helo))


@pytest.mark.parametrize(
    ("record", "address", "expected"),
    [
        ("v=spf1 ip4:198.51.100.0/24 -all", "198.51.100.7", "pass"),
        ("v=spf1 ip4:198.51.100.0/24 -all", "203.0.113.1", "fail"),
        ("v=spf1 ip4:198.51.100.0/24 ~all", "203.0.113.1", "softfail"),
        ("v=spf1 ip4:198.51.100.0/24 ?all", "203.0.113.1", "neutral"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::25", "pass"),
        ("v=spf1 mx -all", "198.51.100.7", "pass"),
        ("v=spf1 a:www.sender.example -all", "198.51.100.8", "pass"),
        ("v=spf1 include:relay.example -all", "198.51.100.9", "pass"),
        ("v=spf1 redirect=relay.example", "198.51.100.9", "pass"),
        ("v=spf1 exists:%{ir}.%{l}.ok.example -all", "198.51.100.10", "pass"),
        ("v=spf1 ptr -all", "198.51.100.11", "pass"),
        ("v=spf1 include:nothing.example -all", "198.51.100.7", "permerror"),
        ("v=spf1 sense -all", "198.51.100.7", "permerror"),
        ("v=spf1 include:loop.example -all", "198.51.100.7", "permerror"),
        ("v=spf1 a:broken.example -all", "198.51.100.7", "temperror"),
        ("something else", "198.51.100.7", "none"),
    ],
)
def test_spf_gives_the_result_of_the_record(dns: DnsServer, record: str, address: str, expected: str) -> None:
    dns.add(DOMAIN, "TXT", f'"{record}"')
    dns.add(DOMAIN, "MX", "10 mx.sender.example.")
    dns.add("mx.sender.example", "A", "198.51.100.7")
    dns.add("www.sender.example", "A", "198.51.100.8")
    dns.add("relay.example", "TXT", '"v=spf1 ip4:198.51.100.9 -all"')
    dns.add("loop.example", "TXT", '"v=spf1 include:loop.example -all"')
    dns.add("10.100.51.198.bob.ok.example", "A", "127.0.0.2")
    dns.add("11.100.51.198.in-addr.arpa", "PTR", "host.sender.example.")
    dns.add("host.sender.example", "A", "198.51.100.11")
    dns.fail("broken.example")
    assert spf(address) == Spf(expected, DOMAIN, "mailfrom")


def test_spf_of_a_null_sender_is_that_of_the_helo_name(dns: DnsServer) -> None:
    dns.add("mx.sender.example", "TXT", '"v=spf1 a -all"')
    dns.add("mx.sender.example", "A", "198.51.100.7")
    assert spf("198.51.100.7", sender="") == Spf("pass", "mx.sender.example", "helo")
    assert spf("198.51.100.8", sender="").result == "fail"
    asked = len(dns.questions)
    for name in ("[198.51.100.7]", "localhost", "", "a b.example", "x" * 70 + ".example"):
        assert spf("198.51.100.7", sender="", helo=name).result == "none"
    assert len(dns.questions) == asked


def test_spf_looks_up_no_more_than_the_standard_allows(dns: DnsServer) -> None:
    many = " ".join(f'"a:host{number}.sender.example "' for number in range(12))
    dns.add(DOMAIN, "TXT", f'"v=spf1 " {many} "-all"')
    for number in range(12):
        dns.add(f"host{number}.sender.example", "A", "203.0.113.1")
    assert spf("198.51.100.7").result == "permerror"
    assert len(dns.questions) == 11
    dns.add("void.example", "TXT", '"v=spf1 a:n1.example a:n2.example a:n3.example a:n4.example -all"')
    assert spf("198.51.100.7", sender="x@void.example").result == "permerror"
    assert ("n4.example", "A") not in dns.questions


def test_a_record_as_long_as_no_honest_one_is_not_evaluated(dns: DnsServer) -> None:
    networks = " ".join(f'"ip4:203.0.{number}.0/24 "' for number in range(300))
    dns.add(DOMAIN, "TXT", f'"v=spf1 " {networks} "-all"')
    assert spf("203.0.59.1").result == "permerror"


def test_an_answer_too_long_for_udp_comes_by_tcp(dns: DnsServer) -> None:
    networks = " ".join(f'"ip4:203.0.{number}.0/24 "' for number in range(60))
    dns.add(DOMAIN, "TXT", f'"v=spf1 " {networks} "-all"')
    assert spf("203.0.59.1").result == "pass"
    assert dns.by_tcp == [(DOMAIN, "TXT")]


def test_answers_are_asked_once(dns: DnsServer) -> None:
    dns.add(DOMAIN, "TXT", '"v=spf1 mx -all"')
    dns.add(DOMAIN, "MX", "10 mx.sender.example.")
    dns.add("mx.sender.example", "A", "198.51.100.7")

    async def many() -> list[Spf]:
        resolver = Resolver()
        together = [check_spf(resolver, "198.51.100.7", SENDER, DOMAIN, "x.example") for _ in range(20)]
        return [
            *await asyncio.gather(*together),
            await check_spf(resolver, "198.51.100.8", SENDER, DOMAIN, "x.example"),
        ]

    assert [result.result for result in run(many)] == ["pass"] * 20 + ["fail"]
    assert len(dns.questions) == 3


def test_domains_of_one_organisation_are_aligned() -> None:
    assert aligned("news.shop.co.uk", "shop.co.uk")
    assert aligned("a.shop.co.uk", "b.shop.co.uk")
    assert not aligned("a.shop.co.uk", "b.shop.co.uk", strict=True)
    assert not aligned("one.co.uk", "two.co.uk")
    assert not aligned("", "")


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b"bob@Sender.Example", "sender.example"),
        (b'"x@evil.example" <bob@sender.example>', "sender.example"),
        (b"=?utf-8?q?Bob?= <bob@sender.example>", "sender.example"),
        ("Jörg <j@bücher.example>".encode(), "xn--bcher-kva.example"),
        (b"a@one.example, b@two.example", ""),
        (b"nobody", ""),
        (b"\xff\xfe <@>", ""),
        (b"x" * 5000 + b" <bob@sender.example>", ""),
    ],
)
def test_the_domain_of_the_header_from(value: bytes, domain: str) -> None:
    assert from_domain(b"Subject: x\r\nFrom: " + value + b"\r\n") == domain


def test_two_from_fields_are_none() -> None:
    assert from_domain(b"From: a@one.example\r\nFrom: a@one.example\r\n") == ""


@pytest.mark.parametrize(
    ("record", "spf_domain", "signer", "expected"),
    [
        ("v=DMARC1; p=reject", "bounces.sender.example", "", "pass"),
        ("v=DMARC1; p=reject; aspf=s", "bounces.sender.example", "", "fail"),
        ("v=DMARC1; p=none", "else.example", "news.sender.example", "pass"),
        ("v=DMARC1; p=none; adkim=s", "else.example", "news.sender.example", "fail"),
        ("v=DMARC1; p=none", "else.example", "else.example", "fail"),
        ("v=spf1 -all", "sender.example", "sender.example", "none"),
    ],
)
def test_dmarc_wants_what_passed_to_be_aligned(
    dns: DnsServer, record: str, spf_domain: str, signer: str, expected: str
) -> None:
    dns.add("_dmarc.sender.example", "TXT", f'"{record}"')
    found = [Dkim("pass", signer)] if signer else []

    async def check(domain: str) -> str:
        result = await check_dmarc(Resolver(), domain, Spf("pass", spf_domain, "mailfrom"), found)
        return result.result

    assert asyncio.run(check("sender.example")) == expected
    if "=s" not in record:
        assert asyncio.run(check("sub.sender.example")) == expected  # the organisation's record counts


def test_what_is_kept_of_the_dns_is_bounded(dns: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.authentic.resolver.MOST_BYTES_KEPT", 20_000)
    text = " ".join(['"' + "x" * 200 + '"'] * 40)

    async def many() -> int:
        resolver = Resolver()
        for number in range(20):
            dns.add(f"n{number}.example", "TXT", text)
            answer = await resolver.ask((f"n{number}.example", "TXT"))
            assert len(answer.values[0]) == 4096
        return len(resolver._kept)

    assert 0 < run(many) < 6


def test_a_verdict_tells_all(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    dns.add(DOMAIN, "TXT", '"v=spf1 ip4:203.0.113.1 -all"')
    dns.add("_dmarc.sender.example", "TXT", '"v=DMARC1; p=reject"')
    verdict = evaluate(signed())
    assert verdict.words == (
        "spf=pass smtp.mailfrom=sender.example",
        "dkim=pass header.d=sender.example header.s=s1",
        "dmarc=pass header.from=sender.example",
    )
    assert verdict.authentic is True


def test_authentic_is_who_passed_for_the_envelope_sender(dns: DnsServer) -> None:
    publish(dns, rsa_key()[1])
    dns.add(DOMAIN, "TXT", '"v=spf1 ip4:198.51.100.7 -all"')
    dns.add("other.example", "TXT", '"v=spf1 -all"')
    assert evaluate(MAIL, address="198.51.100.7").authentic is True
    assert evaluate(MAIL).authentic is False
    assert evaluate(signed()).authentic is True
    assert evaluate(signed(), sender="bob@news.sender.example").authentic is True
    assert evaluate(signed(), sender="bob@other.example").authentic is False  # signed by somebody else
    assert evaluate(signed(), sender="").authentic is None  # nobody to tell
    dns.fail("broken.example")
    assert evaluate(MAIL, sender="bob@broken.example").authentic is None


def test_a_dns_that_does_not_answer_costs_seconds_and_no_more(dns: DnsServer) -> None:
    for name in (DOMAIN, "s1._domainkey.sender.example", "_dmarc.sender.example"):
        dns.silence(name)
    verdict = evaluate(signed(), seconds=0.3)
    assert verdict.words == (
        "spf=temperror smtp.mailfrom=sender.example",
        "dkim=temperror (key not available) header.d=sender.example header.s=s1",
        "dmarc=temperror header.from=sender.example",
    )
    assert verdict.authentic is None


def test_when_the_dns_is_away_mail_stops_waiting_for_it(
    dns: DnsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("delivery.authentic.resolver.LOOK_UP_SECONDS", 0.2)
    names = [f"n{number}.example" for number in range(20)]
    for name in names:
        dns.silence(name)

    async def many() -> bool:
        resolver = Resolver()
        await asyncio.gather(*(resolver.ask((name, "A")) for name in names))
        asked = len(dns.questions)
        answer = await resolver.ask(("new.example", "A"))
        assert len(dns.questions) == asked
        return answer.failed

    assert run(many)
    assert "DNS does not answer" in caplog.text


# --- Authentication-Results ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        (" mx.one.example; spf=pass", True),
        (" MX.One.Example ; spf=pass", True),
        (" mx.one.example 1; none", True),
        ("\r\n\tmx.one.example;\r\n\tspf=pass", True),
        (" (a (nested) comment; here) mx.one.example; spf=pass", True),
        (' "mx.one.example"; spf=pass', True),
        (' "mx.one\\.example"; mx.one.example=1', True),
        (" mx.one.example", True),
        (" mx.one.example.; spf=pass", True),
        (" (mx.one.example; spf=pass", True),
        (" " + "(" * 20 + ")" * 20 + " mx.one.example; spf=pass", True),
        (" other.example; spf=pass smtp.mailfrom=mx.one.example", False),
        (" notmx.one.example; spf=pass", False),
        (" mx.one.example.org; spf=pass", False),
        (" (mx.one.example) other.example; spf=pass", False),
    ],
)
@pytest.mark.parametrize(
    "name", ["Authentication-Results", "AUTHENTICATION-RESULTS ", "aUthentication-rEsults"]
)
def test_lines_that_claim_to_be_ours_are_removed(value: str, ours: bool, name: str) -> None:
    field = f"{name}:{value}\r\n".encode()
    mail = b"Received: us\r\n" + b"A: 1\r\n" + field + b"B: 2\r\n folded\r\n" + field + b"\r\nbody\r\n"
    data = bytearray(mail)
    assert prepend_results(data, 14, "mx.one.example", ["spf=none"]) == 52
    ours_now = b"Authentication-Results: mx.one.example;\r\n\tspf=none\r\n"
    assert data == ours_now + (mail.replace(field, b"") if ours else mail)


def test_the_body_is_never_looked_at() -> None:
    mail = b"Received: us\r\nA: 1\r\n\r\nAuthentication-Results: mx.one.example; spf=pass\r\n"
    data = bytearray(mail)
    assert prepend_results(data, 14, "mx.one.example", []) == 0
    assert data == mail


@settings(deadline=None)
@given(st.text(max_size=80))
def test_our_name_at_the_beginning_is_always_found(rest: str) -> None:
    rest = re.sub(r"[\r\n]", " ", rest)
    block = f"Authentication-Results: mx.one.example; {rest}\r\n".encode("utf-8", "replace")
    assert len(forged(block, "mx.one.example")) == 1


def test_what_a_sender_wrote_cannot_break_our_line(dns: DnsServer) -> None:
    words = evaluate(MAIL.replace(b"bob@sender.example", b"bob@sen\xc3\xb6(der).example")).words
    field = header_field("mx.one.example", words)
    assert field.isascii()
    assert field.count(b"\r\n") == 1 + len(words)
