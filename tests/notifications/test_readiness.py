"""Whether a contact would be reached now: the rule, and its sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Contact
from notifications.models import ContactPoint
from notifications.readiness import Reach, Readiness, Way, readiness
from notifications.words import would_be_reached

WAYS = st.lists(
    st.builds(
        Way,
        st.just(1),
        st.sampled_from(["email", "sms", "app"]),
        verified=st.booleans(),
        disabled=st.booleans(),
        way_out=st.booleans(),
    ),
    max_size=5,
)


@given(st.booleans(), WAYS)
def test_a_contact_is_reached_by_what_is_verified_not_disabled_and_has_a_way_out(
    active: bool, ways: list[Way]
) -> None:
    found = readiness(active, ways)
    good = [way for way in ways if way.verified and not way.disabled and way.way_out]
    assert found.reached == (active and bool(good))
    if active:
        assert list(found.ways) == good
        assert sorted(map(id, found.ways + found.broken)) == sorted(map(id, ways))
    assert found.fine == (not active or (len({way.channel for way in good}) > 1 and len(good) == len(ways)))


SMS, MAIL = Way(1, "sms"), Way(2, "email")
GONE, NEW = Way(3, "app", disabled=True), Way(2, "email", verified=False)


@pytest.mark.parametrize(
    ("active", "ways", "reach", "sentence"),
    [
        (False, [SMS], Reach.OFF, "Is not alerted: switched off."),
        (True, [], Reach.NO_POINT, "Would not be reached: there is no e-mail address, phone number or app."),
        (True, [NEW], Reach.UNUSABLE, "Would not be reached: maria@elsewhere.example is not verified."),
        (
            True,
            [GONE],
            Reach.UNUSABLE,
            "Would not be reached: ntfys://… is disabled (410 Gone: no such topic).",
        ),
        (
            True,
            [SMS],
            Reach.ONE_CHANNEL,
            "Would be reached by SMS only: add a second way, for the case that this one fails.",
        ),
        (True, [SMS, MAIL], Reach.SURE, "Would be reached by SMS, then e-mail."),
        (
            True,
            [MAIL, SMS, GONE],
            Reach.SURE,
            "Would be reached by e-mail, then SMS; ntfys://… is disabled (410 Gone: no such topic).",
        ),
    ],
)
def test_it_is_said_in_one_sentence(active: bool, ways: list[Way], reach: Reach, sentence: str) -> None:
    points = {
        1: ContactPoint(channel="sms", address="+4915123456789"),
        2: ContactPoint(channel="email", address="maria@elsewhere.example"),
        3: ContactPoint(channel="app", address="ntfys://u:p@h/t", disabled_reason="410 Gone: no such topic."),
    }
    found: Readiness = readiness(active, ways)
    assert found.reach == reach
    assert would_be_reached(found, points, Contact(name="Maria")) == sentence


def test_all_at_once_is_said_so() -> None:
    contact = Contact(name="Maria", telling=Contact.Telling.AT_ONCE)
    assert (
        would_be_reached(readiness(True, [SMS, MAIL]), {}, contact) == "Would be reached by SMS and e-mail."
    )
