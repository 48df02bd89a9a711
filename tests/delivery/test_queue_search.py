"""What the queue's filter finds is what a look at every row would find, whatever way leads to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.models import NextHop, Recipient
from delivery.reads import search
from delivery.reads.search import Criteria, Search, place_of
from tests.delivery.queue_rows import NOW, make_hop, make_many, make_recipient

pytestmark = pytest.mark.django_db

DOMAINS = ("partner.example", "PARTNER2.example", "x.partner.example")
STATES = Recipient.State.values


@pytest.fixture
def hops() -> list[NextHop]:
    """Two accounts' next hops with mail of every kind in them."""
    ours = [make_hop(), make_hop(name="Second")]
    ours += [make_hop(name="Out", domain=f"d{n}.example") for n in range(2)]
    chance = random.Random(7)
    for hop in [*ours, make_hop("theirs"), make_hop("theirs", "Out", "d1.example")]:
        for n in range(12):
            domain = hop.domain or "ours.example"
            make_recipient(
                hop,
                f"{chance.choice(['Anna', 'anna', 'annabel', 'ben', 'o_o', 'ö'])}@{domain}",
                minutes=chance.randrange(300),
                state=chance.choice(STATES),
                sender=chance.choice(["", *(f"{name}@{at}" for name in ("Max", "m_x") for at in DOMAINS)]),
                subject=chance.choice(["", "Offer 1", "offer 2", "100% sure", "Rechnung"]),
                message_id=f"<{n}@id.example>",
            )
    return ours


def start(text: str) -> Callable[[str], bool]:
    return lambda value: value.lower().startswith(text.lower())


FILTERS: list[tuple[Criteria, Callable[[Recipient], bool]]] = [
    (Criteria(), lambda row: True),
    (Criteria(states=("queued",)), lambda row: row.state == "queued"),
    (Criteria(states=tuple(map(str, Recipient.WAITING))), lambda row: row.state in Recipient.WAITING),
    (Criteria(accepted_by=NOW - timedelta(hours=2)), lambda row: row.accepted_at <= NOW - timedelta(hours=2)),
    (Criteria(recipient="anna"), lambda row: start("anna")(row.address)),
    (Criteria(recipient="anna@OURS.example"), lambda row: row.address.lower() == "anna@ours.example"),
    (Criteria(recipient="anna@"), lambda row: start("anna@")(row.address)),
    (Criteria(recipient="@ours.example"), lambda row: row.address.endswith("@ours.example")),
    (Criteria(recipient="@D1.example"), lambda row: row.address.endswith("@d1.example")),
    (Criteria(recipient="o_"), lambda row: start("o_")(row.address)),
    (Criteria(recipient="%"), lambda row: False),
    (Criteria(recipient="nobody"), lambda row: False),
    (Criteria(sender="max"), lambda row: start("max")(row.message.sender)),
    (Criteria(sender="MAX@partner.example"), lambda row: row.message.sender == "Max@partner.example"),
    (Criteria(sender="@partner2.example"), lambda row: row.message.sender.endswith("@PARTNER2.example")),
    (Criteria(sender="@partner.example"), lambda row: row.message.sender.endswith("@partner.example")),
    (Criteria(sender="<>"), lambda row: row.message.sender == ""),
    (Criteria(subject="offer"), lambda row: "offer" in row.message.subject.lower()),
    (Criteria(subject="100%"), lambda row: "100%" in row.message.subject),
    (Criteria(message_id="3@id.example"), lambda row: row.message.message_id == "<3@id.example>"),
    (Criteria(message_id="<3@id.example>", states=("held",)),
     lambda row: row.message.message_id == "<3@id.example>" and row.state == "held"),
    (Criteria(sender="@partner.example", recipient="anna", subject="offer", states=("queued", "held")),
     lambda row: row.message.sender.endswith("@partner.example") and start("anna")(row.address)
     and "offer" in row.message.subject.lower() and row.state in ("queued", "held")),
]  # fmt: skip

WAYS: dict[str, dict[str, object]] = {
    "as it is": {},
    "few are too many": {"SCAN": 9, "TRIED": (7, 5)},
    "too many streams": {"STREAMS": 1},
    "both": {"SCAN": 9, "TRIED": (7, 5), "STREAMS": 1},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_filter_finds_what_a_look_at_every_row_finds(
    hops: list[NextHop], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for name, value in WAYS[way].items():
        monkeypatch.setattr(search, name, value)
    account_id = hops[0].route.account_id
    rows = list(Recipient.objects.filter(next_hop__in=hops).select_related("message"))
    rows.sort(key=lambda row: (row.accepted_at, row.pk), reverse=True)
    route = hops[1].route_id
    for criteria, matches in [
        *FILTERS,
        (
            Criteria(route=route, states=("queued",)),
            lambda row: (row.next_hop_id, row.state) == (hops[1].pk, "queued"),
        ),
        (Criteria(route=hops[2].route_id), lambda row: row.next_hop_id in {hop.pk for hop in hops[2:]}),
    ]:
        expected = [row.pk for row in rows if matches(row)]
        assert listed(account_id, criteria) == expected, criteria
        assert listed(account_id, criteria, newer=True) == expected[::-1], criteria
        assert sorted(stretched(account_id, criteria)) == sorted(expected), criteria
        count = Search(account_id, criteria).count(trying=True)
        assert count
        assert count.number == len(expected) or (count.more and count.number < len(expected)), criteria


def listed(account_id: int, criteria: Criteria, *, newer: bool = False) -> list[int]:
    """All pages, one after the other."""
    ids: list[int] = []
    place = None
    for _page in range(200):
        found = Search(account_id, criteria).page(place, newer=newer, limit=25)
        ids += found.ids
        if not found.more and not found.reached:
            return ids
        place = found.reached or place_of(account_id, found.ids[-1])
    raise AssertionError("the pages do not end")


def stretched(account_id: int, criteria: Criteria) -> list[int]:
    ids: list[int] = []
    place = None
    looked_at = 0
    while True:
        some, place, number = Search(account_id, criteria).stretch(place, 30)
        ids += some
        looked_at += number
        if place is None:
            assert looked_at == Search(account_id, criteria).to_look_at()
            return ids


def test_a_frozen_selection_takes_nothing_that_came_later(hops: list[NextHop]) -> None:
    newest = Recipient.objects.latest("pk").pk
    make_recipient(hops[0])
    criteria = Criteria(states=("queued",), upto=newest)
    found = listed(hops[0].route.account_id, criteria)
    assert found
    assert max(found) <= newest


def test_criteria_survive_being_stored() -> None:
    full = Criteria(("held",), 3, "a", "b", "c", "d", NOW, 9, (1, 2))
    assert Criteria.from_json(full.as_json()) == full
    assert Criteria().as_json() == {}


def test_chosen_rows_of_another_account_are_not_found(hops: list[NextHop]) -> None:
    theirs = Recipient.objects.filter(next_hop__route__account__slug="theirs")
    ids = tuple(theirs.values_list("pk", flat=True))
    ours = Search(hops[0].route.account_id, Criteria(ids=ids))
    assert ours.page(None).ids == []
    assert ours.stretch(None, 100)[0] == []
    assert place_of(hops[0].route.account_id, ids[0]) is None


def test_a_page_costs_the_same_queries_however_much_there_is() -> None:
    hop = make_hop()
    costs = []
    for number in (60, 1500):
        make_many(hop, number)
        for criteria in (Criteria(states=("queued",)), Criteria(subject="nothing"), Criteria(sender="x@y.z")):
            with CaptureQueriesContext(connection) as queries:
                finder = Search(hop.route.account_id, criteria)
                finder.page(None)
                finder.count()
            costs.append(len(queries))
    assert costs[0] == costs[3] <= 4
    assert costs[2] == costs[5] <= 4
    assert max(costs) <= 8


def test_the_database_reads_a_stream_by_its_index_and_does_not_sort() -> None:
    make_many(make_hop(), 300)
    finder = Search(make_hop().route.account_id, Criteria(states=("queued", "held")))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE delivery_recipient")
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = finder._rows(None, False, 51).explain()
    assert "recipient_listed" in plan
    assert "ORDER BY" not in plan.replace("MERGE", "")
    assert "Seq Scan" not in plan
