"""Addresses, parameters, the Received line, loops, the look at headers."""

from __future__ import annotations

import asyncio
import io
import logging
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.gateway.addresses import (
    check_envid,
    check_notify,
    check_orcpt,
    check_ret,
    domain_key,
    parse_parameters,
    parse_path,
)
from delivery.gateway.headers import LONGEST, header_block, peek
from delivery.gateway.loglines import lines_together
from delivery.gateway.refusal import Refusal
from delivery.gateway.trace import Tracer


@pytest.mark.parametrize(
    ("text", "address", "parameters"),
    [
        ("<a@b.example>", "a@b.example", ""),
        ("<a.b+c=d@b.example> SIZE=1 BODY=7BIT", "a.b+c=d@b.example", "SIZE=1 BODY=7BIT"),
        ("a@b.example SIZE=1", "a@b.example", "SIZE=1"),
        ("  <a@b.example>", "a@b.example", ""),
        ("<@relay.example,@two.example:a@b.example>", "a@b.example", ""),
        ('<"john doe"@b.example> RET=FULL', '"john doe"@b.example', "RET=FULL"),
        (r'<"a\"b>c"@b.example>', r'"a\"b>c"@b.example', ""),
        ("<dots..in.the.@b.example>", "dots..in.the.@b.example", ""),
        ("<ü@bücher.example>", "ü@bücher.example", ""),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", ""),
        ("<postmaster>", "postmaster", ""),
    ],
)
def test_paths_are_kept_as_written(text: str, address: str, parameters: str) -> None:
    mailbox, rest = parse_path(text)
    assert (str(mailbox), rest) == (address, parameters)


def test_the_null_path() -> None:
    assert parse_path("<> SIZE=3") == (None, "SIZE=3")


@pytest.mark.parametrize(
    "text", ["", "<", "<a@b", "<a@b>x", "<a@b@c>", "<a@>", "<@b>", '<"a@b>', "<a@b c>", "<<a@b>>", "<a,b@c>"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match=r"^553 5\.1\.3"):
        parse_path(text)


@given(st.text(max_size=60))
@example("<" * 60)
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with suppress(Refusal):
        mailbox, _rest = parse_path(text)
        assert mailbox is None or str(mailbox) in text


def test_an_address_too_long_for_the_store_is_refused() -> None:
    parse_path(f"<{'a' * 300}@{'b' * 19}>")
    with pytest.raises(Refusal, match="too long"):
        parse_path(f"<{'a' * 300}@{'b' * 20}>")


def test_domains_compare_as_a_labels_in_lower_case() -> None:
    assert domain_key("Example.ORG") == "example.org"
    assert domain_key("BÜCHER.example") == "xn--bcher-kva.example"
    assert domain_key("straße.example") == "xn--strae-oqa.example"
    with pytest.raises(Refusal, match=r"^553 5\.1\.3"):
        domain_key("ü..example")


def test_quoting_and_case_do_not_matter_for_comparing() -> None:
    for text in ("<Anna@x.example>", '<"anna"@x.example>', r'<"an\na"@x.example>'):
        mailbox, _rest = parse_path(text)
        assert mailbox
        assert mailbox.local_key == "anna"


@pytest.mark.parametrize("text", ["SIZE", "A=1 A=2", "a=1 A=1", "=1", "A==", "-A=1"])
def test_parameters_are_names_with_values(text: str) -> None:
    if text == "SIZE":
        assert parse_parameters(text) == {"SIZE": ""}
    else:
        with pytest.raises(Refusal, match=r"^501 5\.5\.4"):
            parse_parameters(text)


def test_dsn_parameters() -> None:
    assert check_ret("hdrs") == "HDRS"
    assert check_notify("success,Delay") == "SUCCESS,DELAY"
    assert check_notify("never") == "NEVER"
    assert check_envid("QQ314159") == "QQ314159"
    assert check_envid("a+2Bb") == "a+2Bb"
    assert check_orcpt("rfc822;Bob+2Bx@else.example") == "rfc822;Bob+2Bx@else.example"


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_ret, "ALL"),
        (check_ret, ""),
        (check_notify, "NEVER,FAILURE"),
        (check_notify, "FAILURE,FAILURE"),
        (check_notify, ""),
        (check_envid, ""),
        (check_envid, "a" * 101),
        (check_envid, "a+2b"),
        (check_envid, "a=b"),
        (check_orcpt, "rfc822"),
        (check_orcpt, ";x"),
        (check_orcpt, "rfc822;"),
        (check_orcpt, "rfc822;" + "x" * 500),
    ],
)
def test_dsn_parameters_that_are_refused(check: object, value: str) -> None:
    assert callable(check)
    with pytest.raises(Refusal, match=r"^501 5\.5\.4"):
        check(value)


# --- The Received line and loops --------------------------------------------------------------------

TRACER = Tracer("gw.example", "key")


def received(
    helo: str = "client.example", address: str = "192.0.2.1", tls: str = "", protocol: str = "ESMTP"
) -> bytes:
    return TRACER.received(TRACER.new_id(), helo=helo, address=address, tls=tls, protocol=protocol)


def test_the_received_line_names_who_where_and_how() -> None:
    lines = received(tls="TLSv1.3 TLS_AES_256_GCM_SHA384", protocol="ESMTPS").split(b"\r\n\t")
    assert lines[0] == b"Received: from client.example ([192.0.2.1])"
    assert lines[1].startswith(b"by gw.example with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id ")
    assert lines[2].endswith(b" +0000\r\n")
    assert b"([IPv6:2001:db8::1])" in received(address="2001:db8::1")


@given(st.text(max_size=300))
def test_no_helo_can_break_the_received_line(helo: str) -> None:
    line = received(helo=helo)
    assert line.isascii()
    assert line.count(b"\r\n") == 3
    assert line.count(b"\r") == line.count(b"\n") == 3
    assert b";" not in line.partition(b"\r\n")[0]


def test_our_own_line_met_again_is_a_loop() -> None:
    with pytest.raises(Refusal, match=r"^554 5\.4\.6"):
        TRACER.check_loop(
            b"NEW\r\n" + b"Received: from x by y; z\r\n" + received() + b"Subject: x\r\n\r\n", 5
        )


def test_a_line_of_another_installation_of_the_same_name_is_no_loop() -> None:
    Tracer("gw.example", "another key").check_loop(received() + b"\r\n", 0)


def test_our_own_line_in_the_body_is_no_loop() -> None:
    TRACER.check_loop(b"Subject: x\r\n\r\n" + received(), 0)
    TRACER.check_loop(b"\r\n" + received(), 0)


def test_a_hundred_hops_are_taken_and_one_more_is_a_loop() -> None:
    hop = b"Received: from a\r\n by b; date\r\n"
    TRACER.check_loop(hop * 100 + b"\r\n", 0)
    with pytest.raises(Refusal, match=r"^554 5\.4\.6"):
        TRACER.check_loop(hop * 101 + b"\r\n", 0)


# --- The look at headers ----------------------------------------------------------------------------


def test_headers_are_shown_decoded_and_unfolded() -> None:
    block = header_block(
        b"Received: x\r\nsubject: =?utf-8?B?R3LDvMOfZQ==?= aus\r\n =?iso-8859-1?Q?K=F6ln?=\r\n"
        b"FROM: =?utf-8?Q?J=C3=B6rg?= <j@x.example>\r\nMessage-ID: <1@x>\r\nSubject: second\r\n\r\n"
        b"Subject: body\r\n"
    )
    assert peek(block) == ("<1@x>", "Grüße aus Köln", "Jörg <j@x.example>")


def test_headers_in_raw_bytes_are_shown_as_far_as_can_be() -> None:
    assert peek(b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n").subject == "Grüße"
    assert peek(b"Subject: Gr\xfc\xdfe\r\n").subject == "Grüße"
    assert peek(b"Subject: a\x00b\r\n").subject == "a b"
    assert len(peek(b"Subject: " + b"x" * 5000 + b"\r\n").subject) == LONGEST


@given(st.binary(max_size=400), st.binary(max_size=400))
@example(b"=?x-unknown?B?/////?=", b"=?utf-8?B?a?=")
@example(b"=?unicode_escape?Q?=5Cud800?=", b"=?idna?Q?x?=")
@example(b"=?utf-16?B?2D0=?=", b"=?rot13?Q?x?=")
def test_no_header_is_too_hostile(subject: bytes, sender: bytes) -> None:
    look = peek(header_block(b"Subject: " + subject + b"\r\nFrom: " + sender + b"\r\n\r\n"))
    for text in look:
        assert "\x00" not in text
        assert len(text) <= LONGEST
        text.encode()


def test_log_lines_of_one_turn_are_one_write_in_order() -> None:
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    stream = Stream()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()

    async def turn() -> None:
        with lines_together():
            log.warning("one")
            log.warning("two")
            assert written == []
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert written == ["one\ntwo\n"]
            log.warning("at the end")

    log = logging.getLogger("gateway-lines")
    root.addHandler(handler)
    try:
        asyncio.run(turn())
        assert handler.stream is stream
    finally:
        root.removeHandler(handler)
    assert written[1:] == ["at the end\n"]
