"""The picture of a queue over an outage, and what it says of the disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from delivery.charts import queue_chart
from delivery.models import NextHop, Pause, QueueSample, Recipient
from delivery.reads import disk_forecast, drain_progress, queue_history
from delivery.services.sampling import KEPT, sample
from tests.support.couriers import make_account, make_hop, queue

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 23, 12, 0, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def hop() -> NextHop:
    return make_hop(make_account())


def points() -> list[tuple[datetime, int, int]]:
    return list(QueueSample.objects.order_by("at").values_list("at", "queued", "delivered"))


def test_a_point_a_minute_while_something_waits_and_one_more_at_the_end(hop: NextHop) -> None:
    assert sample(NOON) == 0, "nothing waits"
    queue(hop, at=NOON)
    assert sample(NOON + 3 * MINUTE / 4) == 0, "mail on its way through does not wait"
    start = NOON.replace(second=0) + 2 * MINUTE
    assert [sample(start + timedelta(seconds=second)) for second in (0, 5, 59)] == [1, 0, 0]
    queue(hop, at=NOON)
    assert sample(start + MINUTE) == 1
    Recipient.objects.update(state="delivered", final_at=start + MINUTE + timedelta(seconds=30))
    assert [sample(start + minutes * MINUTE) for minutes in (2, 3, 4, 5)] == [1, 1, 0, 0]
    assert points() == [
        (start, 1, 0),
        (start + MINUTE, 2, 0),
        (start + 2 * MINUTE, 0, 2),
        (start + 3 * MINUTE, 0, 0),
    ]


def test_old_points_go_after_ninety_days(hop: NextHop) -> None:
    queue(hop, at=NOON - timedelta(hours=1))
    QueueSample.objects.create(account=hop.route.account, at=NOON - KEPT - MINUTE, queued=1, delivered=0)
    assert sample(NOON) == 1
    assert [at for at, *_ in points()] == [NOON.replace(second=0)]


def test_a_long_outage_is_drawn_with_few_points_and_its_peak(hop: NextHop) -> None:
    QueueSample.objects.bulk_create(
        QueueSample(account=hop.route.account, at=NOON + n * MINUTE, queued=min(n, 1500 - n), delivered=n % 2)
        for n in range(1501)
    )
    history = queue_history(hop.route.account_id, NOON, NOON + 1500 * MINUTE)
    assert len(history) <= 240
    assert max(point.queued for point in history) == 750
    chart = queue_chart(history)
    assert chart
    assert (chart.deepest, len(chart.area.split())) == (750, len(history) + 2)
    assert queue_chart(history[:1]) is None
    assert queue_history(hop.route.account_id + 1, NOON, NOON + 1500 * MINUTE) == []


def test_the_disk_is_full_when_it_goes_on_as_in_the_last_hour(hop: NextHop) -> None:
    account = hop.route.account
    Pause.objects.create(account=account, started_at=NOON - timedelta(hours=3), started_by="x")
    assert sample(NOON) == 1, "paused, with nothing in the queue yet"
    assert QueueSample.objects.get().disk_free, "this machine has a disk"
    assert disk_forecast(account.pk, NOON + MINUTE).full_at is None  # type: ignore[union-attr]
    QueueSample.objects.all().delete()
    kept_free = settings.DISK_FAILED_MB * 1_000_000
    for minutes, free in ((120, 900), (60, 130), (30, 115), (0, 100)):
        QueueSample.objects.create(
            account=account,
            at=NOON - minutes * MINUTE + MINUTE / 60,
            queued=1,
            delivered=0,
            disk_free=kept_free + free * 10**9,
        )
    now = NOON + MINUTE / 60
    forecast = disk_forecast(account.pk, now)
    assert forecast
    assert forecast.free == 100 * 10**9
    # The point of an hour ago is just out of the last hour: 15 GB in half an hour.
    assert forecast.full_at == now + timedelta(hours=100 / 30)
    assert disk_forecast(account.pk + 1, now) is None


def test_a_drain_says_how_many_were_refused_for_now(hop: NextHop) -> None:
    NextHop.objects.filter(pk=hop.pk).update(state="recovering", backlog_before=NOON)
    for minutes in (-5, 10):
        queue(hop, at=NOON - timedelta(hours=1)).recipients.update(next_attempt_at=NOON + minutes * MINUTE)
    drain = drain_progress(hop.route.account_id, NOON)
    assert drain
    assert (drain.left, drain.put_off) == (2, 1)
