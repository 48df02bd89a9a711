"""The history pages: the filter bar, the CSV, the report of an event, and invented history."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from django.http import StreamingHttpResponse
from django.test import Client

from accounts import audit
from accounts.models import Account, AuditEntry, Membership
from accounts.services import SCHEDULER, Actor, decision
from continuity_site.seed_history import seed_history
from continuity_site.templatetags.console import DECISIONS
from continuity_site.views.history import TOPICS, harmless
from delivery.models import NextHop
from events.models import ContinuityEvent
from tests.site.pages import NOW, World, make_user, make_world

pytestmark = pytest.mark.django_db
MARIA = Actor(AuditEntry.By.CONTACT, "Maria Silva", 1, "192.0.2.7")
# Found by words and by what they are about; too rare for a line in the filter.
WITHOUT_A_LINE = {"local_fault", "bounces", "disk", "mail"}


@pytest.fixture
def world() -> World:
    world = make_world("ours", demo=False)
    NextHop.objects.update(state=NextHop.State.UP)
    at = NOW - timedelta(minutes=8)
    with decision(world.account.pk, MARIA, now=at) as made:
        made.record("pause.started", subject="pause:1", reason='=HYPERLINK("http://evil")')
    with decision(world.account.pk, SCHEDULER, now=at) as made:
        made.record("route.down", subject="route:1", reason="421 über Nacht")
    return world


def read(world: World, address: str) -> tuple[int, str]:
    """What support staff get, two days later."""
    client = Client()
    with time_machine.travel(NOW + timedelta(days=2), tick=False):
        client.force_login(
            make_user(f"sam{Membership.objects.count()}", world.account, Membership.Role.SUPPORT)
        )
        response = client.get(address)
        streamed = isinstance(response, StreamingHttpResponse)
        body = b"".join(response) if streamed else response.content
    return response.status_code, body.decode()


def test_the_list_shows_who_did_what_from_where_and_why(world: World) -> None:
    page = unescape(read(world, "/history/?topic=pause")[1])
    for words in ("Deliveries paused", "Maria Silva", "by link", "192.0.2.7", '=HYPERLINK("http://evil")'):
        assert words in page
    assert "Mail server down</span>" not in page
    assert "/events/3/" in read(world, "/history/?subject=event:3")[1]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=2026-11-23&until=2026-11-22", "before the first day"),
        ("since=0001-01-01", "greater than or equal"),
        ("until=9999-12-31", "less than or equal"),
        ("since=yesterday", "Enter a valid date"),
        ("words=a+b+c+d+e+f+g", "At most 6 words"),
        ("who=%00", "Null characters"),
        ("before=-1", ""),
    ],
)
def test_a_wrong_filter_is_answered_and_exports_nothing(world: World, query: str, said: str) -> None:
    status, page = read(world, f"/history/?{query}")
    assert (status, said in page, "192.0.2.7" in page) == (200, True, False)
    assert read(world, f"/history/history.csv?{query}")[0] == 400


def test_the_csv_opens_in_excel_and_runs_no_formula(world: World) -> None:
    status, text = read(world, "/history/history.csv?since=2026-11-23&until=2026-11-23")
    assert (status, text[0]) == (200, "\ufeff")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert [row["Number"] for row in rows] == ["1", "3", "2"], "by time"
    _, down, paused = rows
    assert (down["Decision"], down["Reason"], down["Who"]) == (
        "Mail server down",
        "421 über Nacht",
        "Continuity",
    )
    assert (paused["Reason"], paused["Address"]) == ('\'=HYPERLINK("http://evil")', "192.0.2.7")
    assert paused["Time (UTC)"] == "2026-11-23 14:52:00"
    assert paused["Hash"] == AuditEntry.objects.get(action="pause.started").hash


def test_whatever_a_spreadsheet_takes_for_a_formula_is_made_text() -> None:
    for text in ("=1+1", "+49 30", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1"):
        assert harmless(text) == "'" + text
    for value in ("plain", "", "a=1", 7):
        assert harmless(value) == value


def test_every_kind_of_decision_has_its_line_in_the_filter() -> None:
    assert {action.partition(".")[0] for action in DECISIONS} - WITHOUT_A_LINE <= set(TOPICS)


def test_the_report_says_in_sentences_what_happened(world: World) -> None:
    ContinuityEvent.objects.filter(pk=world.event.pk).update(
        state="ended", ended="stopped", ended_by="Maria", ended_at=NOW
    )
    status, page = read(world, f"/events/{world.event.pk}/report/")
    page = " ".join(unescape(page).split())
    assert status == 200
    assert "Continuity mode was on for 10 min: Maria activated it on 23 Nov 2026, 15:50 CET" in page
    assert "Every message is accounted for." in page
    did, rest = page[page.index("Who did what") :].split("What Continuity noticed")
    assert ("Deliveries paused" in did, "192.0.2.7" in did, "Mail server down" in did) == (True, True, False)
    assert "Mail server down" in rest
    assert "Outage alert" in rest


def test_invented_history_is_a_right_chain_that_goes_on_from_what_is_there() -> None:
    account = Account.objects.create(name="Demo", slug="demo", is_demo=True)
    with decision(account.pk, SCHEDULER) as made:
        made.record("settings.changed")
    seed_history(account, 25, datetime(2026, 11, 23, tzinfo=UTC))
    assert audit.verify(account.pk) == audit.Verdict(
        26, 26, AuditEntry.objects.get(account=account, number=26).hash
    )
    assert ContinuityEvent.objects.filter(account=account).count() == 3
    seed_history(account, 5, datetime(2026, 11, 24, tzinfo=UTC))
    assert audit.verify(account.pk).rows == 31
    with pytest.raises(ValueError, match="not a demo"):
        seed_history(Account.objects.create(name="Real", slug="real"), 1, NOW)
