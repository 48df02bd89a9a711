"""What alerts say: by kind and channel, in the reader's zone, an SMS in one segment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Account, Contact
from notifications import codes, gsm7, texts
from notifications.kinds import KINDS
from notifications.models import ContactPoint, Notification
from notifications.transports import Rendered
from tests.notifications.conftest import FACTS, LINK, NOW

MORE = {
    "closed": "2026-11-24T02:10:00Z",
    "what": "{who} activated continuity mode at {at} until {until}.",
    "who": "Maria",
    "number": 312,
    "route": "Exchange",
    "left": 4,
    "action": "event.activated",
    "at": "2026-11-24T02:12:00+00:00",
    "until": "2026-11-24T06:12:00+00:00",
}


def written(
    kind: str,
    channel: str,
    *,
    name: str = "Example Hospital",
    zone: str = "Europe/Berlin",
    language: str = "en",
    now: datetime = NOW,
    repeat: bool = False,
    edited: dict[str, str] | None = None,
    **facts: Any,
) -> Rendered:
    """The message, rendered without touching a database."""
    account = Account(pk=1, name=name)
    contact = Contact(pk=1, account=account, name="Maria", time_zone=zone, language=language)
    notification = Notification(
        pk=1, account=account, contact=contact, kind=kind, context=FACTS | MORE | {"account": name} | facts
    )
    point = ContactPoint(contact=contact, channel=channel, address="x")
    return texts.render(notification, point, LINK, now, repeat=repeat, edited=edited)


def test_an_outage_by_mail_says_everything_there_is_to_know() -> None:
    message = written("outage", "email", mode_until="2026-11-24T06:12:00Z")
    assert message.subject == "Example Hospital: Exchange failing since 03:02 CET"
    for fact in (
        "Exchange has been failing since 03:02 CET",
        "451 4.3.2 System not accepting network messages",
        "1234 messages are waiting, the oldest for 45 min",
        "Continuity mode is on until 07:12 CET",
        "Europe/Berlin",
        LINK,
    ):
        assert fact in message.text
        assert fact in message.html
    assert "Manage event</a>" in message.html


def test_an_outage_by_sms() -> None:
    assert written("outage", "sms").text == (
        "Example Hospital: Exchange failing since 03:02 CET. 1234 waiting, oldest 45 min. "
        f"Continuity off. {LINK}"
    )


def test_what_another_contact_did_is_told_in_the_readers_zone() -> None:
    said = "Maria activated continuity mode at 03:12 CET until 07:12 CET."
    assert written("action", "email").subject == f"Example Hospital: {said}"
    assert said in written("action", "sms").text
    elsewhere = written("action", "app", zone="Asia/Kolkata").text
    assert "at 07:42 IST until 11:42 IST." in elsewhere


def test_a_recovery_names_both_times() -> None:
    assert (
        "works again since 03:10 CET. It had been failing since 03:02 CET."
        in written("recovery", "email").text
    )


def test_yesterdays_times_carry_their_day() -> None:
    message = written("reminder", "email", now=NOW + timedelta(hours=30))
    assert "since 24 Nov 03:02 CET" in message.text


def test_an_unknown_zone_falls_back_to_utc() -> None:
    assert "02:02 UTC" in written("outage", "sms", zone="Mars/Base").text


@pytest.mark.parametrize("channel", ["email", "sms", "app"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_repeat_is_marked(kind: str, channel: str) -> None:
    once, again = written(kind, channel), written(kind, channel, repeat=True)
    assert "Repeat" not in once.text + once.subject + once.html
    assert "(Repeat" in again.text
    assert channel != "email" or ("Repeat:" in again.subject and "Repeat:" in again.html)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_unfilled_and_html_is_escaped(kind: str) -> None:
    message = written(kind, "email", name="A & <b>B", monitor="<script>x</script>", reply="<i>no</i>")
    assert "<script>" not in message.html
    assert "A &amp; &lt;b&gt;B" in message.html
    assert "A & <b>B" in message.subject
    assert "{" not in message.text


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(
    reply=st.text(max_size=400),
    monitor=st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=80),
    queued=st.integers(0, 9_999_999),
    mode=st.none() | st.timedeltas(timedelta(0), timedelta(days=30)),
    age=st.integers(0, 10_000_000),
    repeat=st.booleans(),
)
def test_an_sms_fits_one_segment_whatever_the_server_said(
    kind: str, reply: str, monitor: str, queued: int, mode: timedelta | None, age: int, repeat: bool
) -> None:
    text = written(
        kind,
        "sms",
        name="Example Ltd",
        reply=reply,
        monitor=monitor,
        queued=queued,
        mode_until=None if mode is None else (NOW + mode).isoformat(),
        oldest=(NOW - timedelta(seconds=age)).isoformat(),
        repeat=repeat,
    ).text
    assert (LINK in text) == (kind not in codes.TO_ONE_POINT), "neither a code nor a test acts as its contact"
    assert gsm7.counted(text).segments == 1, (len(text), text)


def test_the_servers_words_fill_what_room_an_sms_has() -> None:
    text = written(
        "outage", "sms", name="Ex", monitor="MX", reply="451 “4.3.2” System not accepting ☎ mail"
    ).text
    assert '451 "4.3.2" System' in text
    assert gsm7.length(text) is not None
    assert len(text) > 150


def test_a_name_outside_gsm7_is_likened_where_that_is_possible() -> None:
    assert "Skoda Zilina" in written("outage", "sms", name="Škoda Žilina").text
    cyrillic = written("outage", "sms", name="Больница").text
    assert "Больница" in cyrillic
    assert LINK in cyrillic


def test_odd_facts_do_not_stop_an_alert() -> None:
    message = written("outage", "email", since="soon", queued=0, oldest=None, reply=None, mode_until=7)
    assert "No message is waiting." in message.text


def test_an_edited_text_at_which_rendering_fails_is_passed_over() -> None:
    assert "failing since 03:02 CET" in written("outage", "sms", edited={"sms": cast(str, 5)}).text


def test_an_unknown_kind_is_unwritable() -> None:
    with pytest.raises(texts.Unwritable):
        written("nonsense", "email")


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("abc", 3), ("€", 2), ("[x]", 5), ("äöüß", 4), ("š", None), ("☎", None)]
)
def test_gsm7_length(text: str, length: int | None) -> None:
    assert gsm7.length(text) == length


@given(st.text(), st.integers(2, 50))
def test_clipping_never_takes_more_than_the_room(text: str, room: int) -> None:
    clipped = gsm7.clipped(gsm7.only(text), room)
    length = gsm7.length(clipped)
    assert length is not None
    assert length <= room
