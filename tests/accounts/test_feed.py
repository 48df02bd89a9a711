"""The feed of decisions: filters, pages and how far words are looked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import feed
from accounts.feed import Criteria
from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, Actor, decision

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 1, tzinfo=UTC)
MARIA = Actor(AuditEntry.By.CONTACT, "Maria Silva", 1, "192.0.2.7")


@pytest.fixture
def account() -> Account:
    """Twelve decisions, an hour apart, two at each instant; those of the clock and of Maria by turns."""
    account = Account.objects.create(name="Example Ltd", slug="example")
    for n in range(12):
        with decision(account.pk, (SCHEDULER, MARIA)[n % 2], now=START + timedelta(hours=n // 2)) as made:
            action = ("outage.opened", "event.activated", "event_like.other")[n % 3]
            made.record(action, subject=f"event:{n % 4}", reason="Disk 100% full" if n == 3 else "")
    with decision(Account.objects.create(name="Other", slug="other").pk, MARIA, now=START) as made:
        made.record("event.activated", subject="event:1")
    return account


def numbers(account: Account, criteria: Criteria, limit: int = 50) -> list[int]:
    """The numbers of all pages, one after the other."""
    found, before = [], None
    for _ in range(30):
        page = feed.page(account.pk, criteria, before, limit)
        found += [entry.number for entry in page.entries]
        before = page.next
        if before is None:
            return found
    pytest.fail("the pages never end")


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (Criteria(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (Criteria(topic="event"), [11, 8, 5, 2]),
        (Criteria(who="Maria Silva"), [12, 10, 8, 6, 4, 2]),
        (Criteria(subject="event:1"), [10, 6, 2]),
        (Criteria(topic="event", who="Maria Silva"), [8, 2]),
        (Criteria(since=START + timedelta(hours=1), until=START + timedelta(hours=3)), [6, 5, 4, 3]),
        (Criteria(topic="event", until=START + timedelta(hours=1)), [2]),
        (Criteria(words="disk 100%"), [4]),
        (Criteria(words="SILVA 0.2.7 activ"), [8, 2]),
        (Criteria(words="100_"), []),
        (Criteria(who="maria"), []),
    ],
)
def test_each_filter_finds_what_it_says_page_by_page(
    account: Account, criteria: Criteria, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert numbers(account, criteria) == expected
    assert numbers(account, criteria, limit=1) == expected
    monkeypatch.setattr(feed, "EXPORTED_AT_ONCE", 3)
    assert [entry.number for entry in feed.everything(account.pk, criteria)] == expected
    for scan in (1, 2, 5, 12):
        monkeypatch.setattr(feed, "SCAN", scan)
        assert numbers(account, criteria, limit=2) == expected, scan


def test_words_are_looked_for_in_so_many_at_a_time_and_that_is_said(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SCAN", 5)
    with CaptureQueriesContext(connection) as captured:
        first = feed.page(account.pk, Criteria(words="disk"))
    assert (first.entries, first.next, first.reached) == ([], 8, START + timedelta(hours=3))
    assert len(captured) == 2
    second = feed.page(account.pk, Criteria(words="disk"), first.next)
    assert [entry.number for entry in second.entries] == [4]


def test_a_place_that_is_not_of_this_account_leads_nowhere(account: Account) -> None:
    other = Account.objects.get(slug="other")
    assert feed.page(other.pk, Criteria(), before=9) == feed.Found()
