"""What readiness costs, in which order, and that the page finds it out of the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Account, MailDomain, Membership, Person
from continuity_site.readiness.reads import readiness
from continuity_site.readiness.rules import (
    COSTS,
    ContactFacts,
    Facts,
    Gap,
    MonitorFacts,
    RouteFacts,
    score,
)
from continuity_site.readiness.words import told
from delivery.models import Route, RouteTest
from monitoring.models import Monitor, Window
from tests.site.pages import make_world, signed_in

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
DAY = timedelta(days=1)
FINE = Facts(
    contacts=[ContactFacts(1, "Maria", True, False, 0)],
    people=10,
    people_unreached=0,
    people_unverified=0,
    routes=[RouteFacts(1, "Exchange", NOW - DAY, 5, False, NOW + 60 * DAY)],
    monitors=[MonitorFacts(1, "Inbound", 5, 0, False)],
    drilled_at=NOW - DAY,
    disk_days=200.0,
)
route = FINE.routes[0]


def gaps(**changed: object) -> list[Gap]:
    return [one.gap for one in score(replace(FINE, **changed), NOW).findings]  # type: ignore[arg-type]


def test_an_account_that_lacks_nothing() -> None:
    assert score(FINE, NOW).value == 100
    assert not gaps()


@pytest.mark.parametrize(
    ("changed", "gap"),
    [
        ({"contacts": []}, Gap.NO_CONTACT),
        ({"contacts": [ContactFacts(1, "M", False, False, 1)]}, Gap.CONTACT_UNREACHED),
        ({"contacts": [ContactFacts(1, "M", True, True, 0)]}, Gap.CONTACT_ONE_CHANNEL),
        ({"contacts": [ContactFacts(1, "M", True, False, 2)]}, Gap.CONTACT_BROKEN),
        ({"people": 0}, Gap.NO_PEOPLE),
        ({"people_unreached": 1}, Gap.PEOPLE_UNREACHED),
        ({"people_unverified": 1}, Gap.PEOPLE_UNVERIFIED),
        ({"routes": []}, Gap.NO_ROUTE),
        ({"routes": [RouteFacts(1, "X")]}, Gap.ROUTE_UNTESTED),
        ({"routes": [replace(route, tested_at=NOW - 91 * DAY)]}, Gap.ROUTE_UNTESTED),
        ({"routes": [replace(route, failed=True)]}, Gap.ROUTE_FAILED),
        ({"routes": [replace(route, expires=NOW + 8 * DAY)]}, Gap.CERTIFICATE_SOON),
        ({"routes": [replace(route, expires=NOW - DAY)]}, Gap.CERTIFICATE_OVER),
        ({"monitors": []}, Gap.NO_MONITOR),
        ({"monitors": [MonitorFacts(1, "M", 5, 4, False)]}, Gap.THRESHOLD_HIGH),
        ({"drilled_at": None}, Gap.NO_DRILL),
        ({"drilled_at": NOW - 91 * DAY}, Gap.NO_DRILL),
        ({"disk_days": 3.9}, Gap.DISK),
        ({"disk_days": 13.9}, Gap.DISK),
    ],
)
def test_each_gap_is_found_alone_and_costs(changed: dict[str, object], gap: Gap) -> None:
    found = score(replace(FINE, **changed), NOW)  # type: ignore[arg-type]
    assert [one.gap for one in found.findings] == [gap]
    assert 100 - COSTS[gap][0] <= found.value < 100


@pytest.mark.parametrize(
    "changed",
    [
        {"routes": [replace(route, tested_at=NOW - 90 * DAY, expires=NOW + 30 * DAY)]},
        {"monitors": [MonitorFacts(1, "M", 5, 4, True), MonitorFacts(2, "N", 5, 5, False)]},
        {"drilled_at": NOW - 90 * DAY},
        {"disk_days": None},
    ],
)
def test_what_is_just_good_enough(changed: dict[str, object]) -> None:
    assert not gaps(**changed)


def test_what_costs_most_comes_first_and_the_score_ends_at_nothing() -> None:
    worst = Facts([], 0, 0, 0, [], [], None, 0.0)
    found = score(worst, NOW)
    assert found.value == 0
    assert found.findings[0].gap == Gap.NO_CONTACT
    points = [one.points for one in found.findings]
    assert points == sorted(points, reverse=True)
    many = [RouteFacts(n, f"R{n}") for n in range(9)]
    assert score(replace(FINE, routes=many), NOW).value == 84, "no more than the most of a kind"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 100))
def test_the_score_is_never_outside(unreached: int, unverified: int, routes: int, disk: float) -> None:
    some = [RouteFacts(n, str(n), failed=bool(n % 2)) for n in range(routes)]
    people = unreached + unverified
    facts = replace(
        FINE,
        people=people,
        people_unreached=unreached,
        people_unverified=unverified,
        routes=some,
        disk_days=disk,
    )
    found = score(facts, NOW)
    assert 0 <= found.value <= 100
    assert (found.value == 100) == (not found.findings)
    assert all(one.points >= 0 for one in found.findings)


@pytest.mark.django_db
def test_the_facts_of_an_account_and_where_each_is_mended() -> None:
    world = make_world("ours", demo=False)
    account = world.account
    RouteTest.objects.filter(route=world.route).update(
        ended_at=NOW,
        result="ok",
        steps=[{"facts": {"expires": (NOW + 3 * DAY).isoformat()}}, {"facts": None}, {"result": "ok"}],
    )
    Window.objects.filter(monitor=world.monitor).delete()
    quiet = Monitor.objects.create(account=account, description="Quiet", route=world.route, threshold=5)
    Window.objects.create(
        monitor=quiet, start=NOW, end=NOW + timedelta(minutes=2), verdict="failure", counter=4, step=1
    )
    Route.objects.create(account=account, name="Second")
    found = {one.gap: one for one in readiness(account, NOW).findings}
    assert found[Gap.CERTIFICATE_OVER].number == 3
    assert found[Gap.THRESHOLD_HIGH].number == 4
    assert found[Gap.ROUTE_UNTESTED].name == "Second"
    assert found[Gap.PEOPLE_UNREACHED].number == 1
    assert found[Gap.PEOPLE_UNVERIFIED].number == 2
    client = signed_in(world, Membership.Role.SUPPORT)
    page = client.get("/readiness/").content.decode()
    for finding in found.values():
        line = told(finding)
        assert line.title.replace("'", "&#x27;") in page
        assert f'href="{line.url}"' in page
    administrator = signed_in(world)
    for finding in found.values():
        assert administrator.get(told(finding).url).status_code == 200, finding
    assert "of 100" in administrator.get("/").content.decode()
    unverified = administrator.get("/people/?reach=unverified").content.decode()
    assert "person 0.email" in unverified
    assert "person 0.none" not in unverified


@pytest.mark.django_db
def test_another_account_is_not_counted() -> None:
    make_world("theirs")
    account = Account.objects.create(name="Empty", slug="empty")
    MailDomain.objects.create(account=account, name="empty.example")
    assert {one.gap for one in readiness(account, NOW).findings} == {
        Gap.NO_CONTACT, Gap.NO_PEOPLE, Gap.NO_ROUTE, Gap.NO_MONITOR, Gap.NO_DRILL,
    }  # fmt: skip
    Person.objects.create(
        account=account, name="A", address="a@empty.example", phone="+491701234567", phone_verified_at=NOW
    )
    assert Gap.NO_PEOPLE not in {one.gap for one in readiness(account, NOW).findings}
