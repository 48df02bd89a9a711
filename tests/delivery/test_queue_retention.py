"""Content and metadata go when they had their time, never anything whose fate is open."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from delivery.models import (
    Attempt,
    BulkAction,
    BulkActionItem,
    DeliverySettings,
    Message,
    MessageContent,
    NextHop,
    Recipient,
    Route,
)
from delivery.services import retention
from delivery.services.hops import next_hops
from tests.delivery.queue_rows import NOW, make_hop, make_recipient

pytestmark = pytest.mark.django_db
DAY = 24 * 60


def old(hop: NextHop, days: float, state: str = "delivered", **more: object) -> Message:
    return make_recipient(hop, state=state, minutes=days * DAY, **more).message  # type: ignore[arg-type]


def contents() -> set[int]:
    return set(MessageContent.objects.values_list("pk", flat=True))


def test_content_goes_seven_days_after_the_last_recipient_is_final() -> None:
    hop = make_hop()
    due = [old(hop, 7.1), old(hop, 30, "bounced"), old(hop, 8, "rejected")]
    kept = [old(hop, 6.9), *(old(hop, 300, str(state)) for state in Recipient.WAITING)]
    one_open = old(hop, 300)
    make_recipient(hop, "b@ours.example", message=one_open, state="held", minutes=300 * DAY)
    late = old(hop, 300, final_at=NOW - timedelta(days=6.9))
    theirs = make_hop("theirs")
    DeliverySettings.objects.create(account=theirs.route.account, content_days=20)
    longer = old(theirs, 19)
    assert retention.run(NOW) == (3, 0)
    assert contents() == {one.pk for one in [*kept, one_open, late, longer]}
    assert set(Message.objects.exclude(content_deleted_at=None)) == set(due)
    assert {one.content_deleted_at for one in Message.objects.filter(pk__in=[m.pk for m in due])} == {NOW}
    assert retention.run(NOW) == (0, 0)


def test_what_is_known_goes_after_four_hundred_days() -> None:
    hop = make_hop()
    gone, kept, open_ = old(hop, 401), old(hop, 399), old(hop, 500, "held")
    for message in (gone, kept):
        recipient = message.recipients.get()
        Attempt.objects.create(
            recipient=recipient, next_hop=hop, at=NOW, duration_ms=1, result="delivered", stage="end"
        )
    assert retention.run(NOW) == (2, 1)
    assert set(Message.objects.all()) == {kept, open_}
    assert Recipient.objects.count() == 2
    assert Attempt.objects.count() == 1
    assert contents() == {open_.pk}


def test_a_report_stays_with_what_it_is_about() -> None:
    hop = make_hop()
    about = old(hop, 401, "bounced")
    make_recipient(hop, "b@ours.example", message=about, state="held", minutes=401 * DAY)
    report = old(hop, 401)
    Message.objects.filter(pk=report.pk).update(report="failure", report_of=about)
    assert retention.run(NOW)[1] == 0
    about.recipients.filter(state="held").update(state="rejected", final_at=NOW - timedelta(days=401))
    assert retention.run(NOW)[1] == 2
    assert not Message.objects.exists()


def test_a_domain_that_nothing_refers_to_goes_after_a_day_without_use() -> None:
    inbound = make_hop()
    route = Route.objects.create(account=inbound.route.account, name="out", kind=Route.Kind.OUTBOUND)

    def domain(name: str, days: float = 2) -> NextHop:
        at = NOW - timedelta(days=days)
        return NextHop.objects.create(route=route, domain=name, state_since=at, used_at=at)

    gone, young, wanted = domain("gone.example"), domain("young.example", 0.9), domain("wanted.example")
    queued, tried, undone = domain("queued.example"), domain("tried.example"), domain("undone.example")
    make_recipient(queued, state="held")
    moved = make_recipient(inbound)
    Attempt.objects.create(recipient=moved, next_hop=tried, at=NOW, duration_ms=1, result="deferred")
    action = BulkAction.objects.create(account=route.account, kind="redirect", made_at=NOW, beat_at=NOW)
    BulkActionItem.objects.create(action=action, recipient=moved, at=NOW, hop_before=undone)
    NextHop.objects.filter(pk=inbound.pk).update(used_at=NOW - timedelta(days=900))
    assert next_hops({(route.pk, "wanted.example")}, NOW)[route.pk, "wanted.example"] == wanted.pk
    retention.run(NOW)
    assert set(NextHop.objects.all()) == {inbound, young, wanted, queued, tried, undone}
    again = next_hops({(route.pk, "gone.example")}, NOW)
    assert again[route.pk, "gone.example"] != gone.pk


def test_many_go_in_batches_past_those_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    monkeypatch.setattr(retention, "BATCH_BYTES", 250)
    hop = make_hop()
    for n in range(23):
        old(hop, 420, "held" if n % 3 == 0 else "delivered")
    assert retention.run(NOW) == (15, 15)
    assert Message.objects.count() == len(contents()) == 8


def test_it_is_looked_for_in_the_first_minutes_of_each_hour() -> None:
    assert retention.is_time(NOW)
    assert not retention.is_time(NOW + timedelta(minutes=retention.MINUTES))


@pytest.mark.skipif("connection.vendor != 'sqlite'")
@pytest.mark.django_db(transaction=True)
def test_the_space_is_given_back_to_the_file_system() -> None:
    hop = make_hop()
    for _ in range(8):
        MessageContent.objects.filter(message=old(hop, 30)).update(data=b"x" * 200_000)
    path = Path(connection.settings_dict["NAME"])

    def size() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path.stat().st_size

    before = size()
    assert retention.run(NOW) == (8, 0)
    assert before - size() > 1_400_000
