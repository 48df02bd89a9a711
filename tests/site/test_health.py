"""/healthz says whether mail is taken and outages are noticed, and tells strangers nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Account
from continuity_site import health
from delivery.models import Message, NextHop, Recipient, Route
from monitoring.models import Monitor, Pulse

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PARTS = ("database", "monitors", "clock", "queue", "redis", "disk")
ALL_OK = dict.fromkeys(PARTS, "ok")


@pytest.fixture(autouse=True)
def _any_disk_will_do(settings: Settings) -> None:
    settings.DISK_DEGRADED_MB = settings.DISK_FAILED_MB = 0


def monitor(judged_until: datetime | None, **options: object) -> Monitor:
    account, _ = Account.objects.get_or_create(slug="secret-customer", defaults={"name": "Secret Customer"})
    Account.objects.filter(pk=account.pk).update(created_at=NOW - timedelta(days=1))
    route, _ = Route.objects.get_or_create(account=account, name="Mail server")
    description = f"monitor {Monitor.objects.count()}"
    return Monitor.objects.create(
        account=account, route=route, description=description, judged_until=judged_until, **options
    )


@pytest.mark.django_db
def test_all_is_well(client: Client) -> None:
    Pulse.objects.create(pk=1, ticked_at=timezone.now())
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "checks": ALL_OK, "problems": {}})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("windows", "expected"), [(0, "ok"), (3, "ok"), (4, "failed")], ids=["now", "three", "four"]
)
def test_a_monitor_that_was_not_judged_for_three_windows_fails(windows: int, expected: str) -> None:
    monitor(NOW)
    monitor(NOW - windows * timedelta(seconds=120))
    assert health.state(NOW)["monitors"] == expected


@pytest.mark.django_db
def test_a_monitor_that_was_never_judged_fails() -> None:
    monitor(None)
    assert health.state(NOW)["monitors"] == "failed"


@pytest.mark.django_db
def test_a_monitor_that_is_off_does_not_matter() -> None:
    monitor(None, active=False)
    assert health.state(NOW)["monitors"] == "ok"


@pytest.mark.django_db
def test_an_overdue_monitor_is_a_503_and_names_nobody(client: Client) -> None:
    monitor(NOW - timedelta(days=1))
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "failed")
    assert "ecret" not in answer.content.decode()


@pytest.mark.django_db
def test_a_dead_clock_is_noticed_without_any_monitor() -> None:
    assert health.state(NOW)["clock"] == "degraded", "it has not run yet"
    Pulse.objects.create(pk=1, ticked_at=NOW - timedelta(minutes=2))
    assert health.state(NOW)["clock"] == "ok"
    assert health.state(NOW + timedelta(seconds=1))["clock"] == "failed"


@pytest.mark.django_db
def test_mail_that_is_due_and_that_nobody_sends_is_noticed(client: Client) -> None:
    watched = monitor(NOW)
    assert watched.route
    hop = NextHop.objects.create(route=watched.route, state_since=NOW)
    message = Message.objects.create(
        account=watched.account, accepted_at=NOW, size=1, client_address="127.0.0.1"
    )
    times = dict.fromkeys(("accepted_at", "next_attempt_at", "expires_at"), NOW)
    Recipient.objects.create(message=message, next_hop=hop, address="a@example.org", **times)
    assert health.state(NOW + timedelta(minutes=9))["queue"] == "ok"
    assert health.state(NOW + timedelta(minutes=11))["queue"] == "failed"
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["problems"]["queue"] == "Mail is due and nobody sends it: is the courier running?"


@pytest.mark.django_db
def test_without_redis_it_is_degraded_only(client: Client, settings: Settings, tmp_path: Path) -> None:
    queues = {
        name: queue | {"URL": f"unix://{tmp_path / 'nothing.sock'}"}
        for name, queue in settings.RQ_QUEUES.items()
    }
    settings.RQ_QUEUES = queues
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["checks"]["redis"]) == (200, "degraded")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("degraded", "failed", "expected"), [(10**9, 0, "degraded"), (10**9, 10**9, "failed")]
)
def test_a_full_disk_is_seen(settings: Settings, degraded: int, failed: int, expected: str) -> None:
    settings.DISK_DEGRADED_MB, settings.DISK_FAILED_MB = degraded, failed
    assert health.state(NOW)["disk"] == expected


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow(django_assert_num_queries: object) -> None:
    for _ in range(5):
        monitor(NOW)
    with django_assert_num_queries(4):  # type: ignore[operator]
        health.state(NOW)


@pytest.mark.django_db
def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
