"""The report itself: read by the standard library and by Mailman's reader, whatever the original is."""

from __future__ import annotations

import email
import email.policy
import quopri
import re
from datetime import UTC, datetime, timedelta
from email.message import Message as Parsed

import pytest
from flufl.bounce import scan_message
from hypothesis import given
from hypothesis import strategies as st

from delivery.bounces import Built, Fate, Report, build
from delivery.bounces.encoding import folded, is_plain, quoted_printable

NOW = datetime(2026, 3, 6, 9, 0, tzinfo=UTC)
HEADER = b"Received: from x\r\nMessage-ID: <m1@outside.example>\r\nSubject: Lunch\r\n"
REFUSED = Fate(
    "bob@acme.example",
    "5.1.1",
    words="550 5.1.1 No such user here",
    remote="mail.acme.example",
    orcpt="rfc822;Bob+2Btag@acme.example",
    tried_at=NOW - timedelta(minutes=1),
)


def report(**changes: object) -> Report:
    facts: dict[str, object] = {
        "gateway": "mx.example",
        "message_id": "<r1@mx.example>",
        "sender": "anna@outside.example",
        "at": NOW,
        "arrived_at": NOW - timedelta(hours=96),
        "fates": (REFUSED,),
        "header": HEADER,
        "envid": "QQ+2B314",
        "subject": "Lunch",
        "original_id": "<m1@outside.example>",
    }
    return Report(**(facts | changes))  # type: ignore[arg-type]


def parsed(built: Built) -> Parsed:
    """The report as the standard library reads it, checked for what every server must be able to take."""
    data = built.data
    assert data.endswith(b"\r\n")
    assert is_plain(data, eight_bit=built.body_8bit or built.smtputf8)
    head = data.partition(b"\r\n\r\n")[0]
    assert built.smtputf8 or head.isascii()
    message = email.message_from_bytes(data)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"]
    assert len(parts(message)) == 3
    return message


def parts(message: Parsed) -> list[Parsed]:
    found = message.get_payload()
    assert isinstance(found, list)
    return [part for part in found if isinstance(part, Parsed)]


def blocks(message: Parsed) -> list[Parsed]:
    status = parts(message)[1]
    assert status.get_content_type() == "message/delivery-status"
    return parts(status)


def test_a_refusal_in_the_words_of_the_server() -> None:
    message = parsed(build(report()))
    about, bob = blocks(message)
    assert about.items() == [
        ("Reporting-MTA", "dns; mx.example"),
        ("Original-Envelope-Id", "QQ+314"),
        ("Arrival-Date", "Mon, 02 Mar 2026 09:00:00 +0000"),
    ]
    assert bob.items() == [
        ("Original-Recipient", "rfc822; Bob+tag@acme.example"),
        ("Final-Recipient", "rfc822; bob@acme.example"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; mail.acme.example"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user here"),
        ("Last-Attempt-Date", "Fri, 06 Mar 2026 08:59:00 +0000"),
    ]
    human, _status, original = parts(message)
    assert "bob@acme.example" in human.as_string()
    assert "No such user here" in human.as_string()
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_payload(decode=True) == HEADER
    assert message["To"] == "<anna@outside.example>"
    assert message["Subject"] == "Undeliverable: Lunch"
    assert message["In-Reply-To"] == "<m1@outside.example>"


def test_an_independent_reader_finds_who_bounced_for_good() -> None:
    message = parsed(build(report(fates=(REFUSED, Fate("eve@acme.example", "4.4.7", expired=True)))))
    assert scan_message(message) == {b"Bob+tag@acme.example", b"eve@acme.example"}


def test_what_we_found_out_ourselves_is_not_put_into_a_servers_mouth() -> None:
    fate = Fate("bob@nowhere.example", "5.1.2", words="550 5.1.2 The domain nowhere.example does not exist.")
    message = parsed(build(report(fates=(fate,))))
    bob = blocks(message)[1]
    assert bob["Diagnostic-Code"].startswith("x-continuity; ")
    assert "Remote-MTA" not in bob
    assert "server" not in parts(message)[0].get_payload()


def test_a_warning_is_a_delay_and_says_how_long_it_is_tried() -> None:
    late = Fate("bob@acme.example", "4.2.2", words="452 4.2.2 Full", retry_until=NOW + timedelta(hours=95))
    message = parsed(build(report(fates=(late,), delayed=True)))
    bob = blocks(message)[1]
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.2.2")
    assert bob["Will-Retry-Until"] == "Tue, 10 Mar 2026 08:00:00 +0000"
    assert "need not do anything" in parts(message)[0].as_string()
    assert message["Subject"] == "Delayed: Lunch"
    temporary, permanent = _scan_all(message)
    assert temporary == {b"bob@acme.example"}
    assert not permanent


def _scan_all(message: Parsed) -> tuple[set[bytes], set[bytes]]:
    from flufl.bounce import all_failures

    temporary, permanent = all_failures(message)
    return set(temporary), set(permanent)


def test_the_whole_message_goes_back_where_that_is_wanted() -> None:
    content = HEADER + b"\r\nShall we?\r\n.\r\n--x--\r\n"
    original = parts(parsed(build(report(content=content))))[2]
    assert original.get_content_type() == "message/rfc822"
    assert parts(original)[0]["Subject"] == "Lunch"
    eight = build(report(content=HEADER + "\r\nWohin? Zum Löwen\r\n".encode()))
    assert eight.body_8bit
    assert parts(parsed(eight))[2]["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize("body", [b"x" * 999, b"a\rb", b"a\nb", b"a\0b"])
def test_a_message_that_no_server_would_take_comes_back_as_its_header(body: bytes) -> None:
    original = parts(parsed(build(report(content=HEADER + b"\r\n" + body))))[2]
    assert original.get_content_type() == "text/rfc822-headers"


def test_addresses_in_utf8() -> None:
    fate = Fate(
        "jörg@acme.example", "5.1.1", words="550 5.1.1 gibt’s nicht", orcpt="utf-8;j\\x{F6}rg@a.example"
    )
    header = "From: Änne\r\nSubject: Grüße\r\n".encode()
    built = build(report(smtputf8=True, sender="änne@outside.example", fates=(fate,), header=header))
    assert built.smtputf8
    message = parsed(built)
    status, original = parts(message)[1:]
    assert status.get_content_type() == "message/global-delivery-status"
    text = quopri.decodestring(_body(built.data, b"message/global-delivery-status")).decode()
    assert "Final-Recipient: utf-8; jörg@acme.example\r\n" in text.replace("\n", "\r\n").replace("\r\r", "\r")
    assert "Original-Recipient: utf-8; jörg@a.example" in text
    assert "gibt’s nicht" in text
    assert original.get_content_type() == "message/global-headers"


def test_an_address_in_utf8_where_the_message_had_no_smtputf8() -> None:
    message = parsed(build(report(fates=(Fate("jörg@acme.example", "4.4.7", expired=True),))))
    assert blocks(message)[1]["Final-Recipient"] == "utf-8; j\\x{F6}rg@acme.example"


def test_an_encoded_line_end_in_orcpt_or_envid_makes_no_field() -> None:
    fate = Fate("bob@acme.example", "5.1.1", orcpt="rfc822;bob+0D+0AStatus:+202.0.0@acme.example")
    message = parsed(build(report(fates=(fate,), envid="a+0D+0AX-Evil:+20yes")))
    about, bob = blocks(message)
    assert "X-Evil" not in about
    assert bob["Status"] == "5.1.1"


def _body(data: bytes, media_type: bytes) -> bytes:
    part = data.partition(b"Content-Type: " + media_type)[2].partition(b"\r\n\r\n")[2]
    return re.split(rb"\r\n--[0-9a-f]{32}", part)[0]


hostile = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.sampled_from(
            [b"Subject: x\r\n", b"\r\n", b"\n", b"\r", b"\0", b"--", b" ", b"=?utf-8?b?", b"\xff\xfe",
             "Grüße".encode(), b"x" * 1200, b"Content-Type: multipart/mixed; boundary=a\r\n", b"=", b".\r\n"]
        ),
        max_size=12,
    ).map(b"".join),
)  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


@given(header=hostile, content=st.none() | hostile, subject=text, words=text, envid=text, utf8=st.booleans())
def test_any_original_makes_a_valid_report(
    header: bytes, content: bytes | None, subject: str, words: str, envid: str, utf8: bool
) -> None:
    fate = Fate("bob@acme.example", "5.0.0", words=words, remote=words[:50], orcpt=f"rfc822;{words[:100]}")
    built = build(
        report(
            header=header,
            content=content,
            subject=subject,
            envid=envid[:100],
            smtputf8=utf8,
            fates=(fate,),
            original_id=subject[:255],
        )
    )
    message = parsed(built)
    status = parts(message)[1]
    if status.get_content_type() == "message/delivery-status":
        about, bob = parts(status)[:2]
        assert set(about.keys()) <= {"Reporting-MTA", "Original-Envelope-Id", "Arrival-Date"}
        assert bob["Action"] == "failed"
        assert set(bob.keys()) <= {
            "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
        }  # fmt: skip
        assert bob["Final-Recipient"] == "rfc822; bob@acme.example"


@given(address=text, sender=text, orcpt=text, remote=text, utf8=st.booleans())
def test_any_address_makes_a_valid_report(
    address: str, sender: str, orcpt: str, remote: str, utf8: bool
) -> None:
    fate = Fate(address, "5.1.1", words="550 no", remote=remote, orcpt=f"utf-8;{orcpt}")
    message = parsed(build(report(fates=(fate,), sender=sender, smtputf8=utf8)))
    status = parts(message)[1]
    if status.get_content_type() == "message/delivery-status":
        assert [part["Status"] for part in parts(status)] == [None, "5.1.1"]


@given(st.binary(max_size=500))
def test_quoted_printable_keeps_every_byte(data: bytes) -> None:
    encoded = quoted_printable(data)
    assert is_plain(encoded)
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    decoded = quopri.decodestring(encoded.replace(b"\r\n", b"\n"))
    assert decoded == data.replace(b"\r\n", b"\n")


@given(text.map(lambda value: " ".join(value.split())))
def test_a_folded_field_keeps_its_words(value: str) -> None:
    field = folded("Diagnostic-Code", value)
    assert all(len(line.encode()) <= 998 for line in field.split("\r\n"))
    assert all(line.startswith(" ") for line in field.split("\r\n")[1:-1])
