"""The clock is set three days ahead and back again: nothing is given up, repeated or stuck for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import django_rq
import pytest
import time_machine
from django.core.management import get_commands
from pytest_django import Settings

from accounts.models import Contact
from accounts.services import SCHEDULER, decision
from continuity_site.management.commands.rqcron import Clock
from delivery.courier.jumps import Jumps
from delivery.models import NextHop, Recipient
from delivery.rules import Outcome, Verdict
from delivery.services import claims, clock, sending
from delivery.services.claims import LEASE, Envelope
from delivery.services.hops import Memory
from events.models import AlertStream
from events.services import alerts
from monitoring.models import Monitor, Outage, Window
from monitoring.services import judge_due
from notifications.models import Attempt, ContactPoint, Notification
from notifications.services import notify, send_due
from tests.support.couriers import make_account, make_hop, queue

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAYS = timedelta(days=3)
AHEAD = NOW + DAYS
BACK = NOW + timedelta(minutes=10)


@pytest.fixture
def hop() -> NextHop:
    made = make_hop(make_account())
    NextHop.objects.filter(pk=made.pk).update(state_since=NOW - DAYS)
    made.refresh_from_db()
    return made


def claim(hop: NextHop, at: datetime) -> list[Envelope]:
    return claims.claim(hop.pk, "courier", 10, at)


def attempt(hop: NextHop, at: datetime, verdict: Verdict, reply: str = "") -> None:
    """A courier whose clock says `at` takes what is due and gets this answer for it."""
    done = [
        sending.Transaction(
            hop.pk,
            "a@x.example",
            tuple(Outcome(one.pk, one.address, verdict, "rcpt", 451, reply) for one in envelope.recipients),
        )
        for envelope in claim(hop, at)
    ]
    assert done, "nothing was due"
    sending.record(done, "courier", at, Memory())


# --- Mail ---------------------------------------------------------------------------------------------------


def test_mail_that_waits_is_not_given_up_and_does_not_wait_for_days(hop: NextHop) -> None:
    recipient = queue(hop, at=NOW).recipients.get()
    attempt(hop, AHEAD, Verdict.DEFERRED, "4.2.2 Mailbox full")
    recipient.refresh_from_db()
    assert recipient.state == "queued"
    assert recipient.next_attempt_at > AHEAD
    assert not claim(hop, BACK)
    assert clock.put_right(BACK) == 1
    attempt(hop, BACK, Verdict.DELIVERED)
    assert Recipient.objects.get().state == "delivered"


def test_a_route_is_not_left_alone_for_days(hop: NextHop) -> None:
    queue(hop, at=NOW)
    attempt(hop, AHEAD, Verdict.HOST_FAILURE)
    assert not claims.flowing(BACK, Memory())
    assert clock.put_right(BACK) == 1
    assert [flow.hop_id for flow in claims.flowing(BACK, Memory())] == [hop.pk]


def test_mail_taken_meanwhile_is_kept_longer_and_goes_at_once(hop: NextHop) -> None:
    recipient = queue(hop, at=AHEAD).recipients.get()
    clock.put_right(BACK)
    assert claim(hop, BACK)
    assert recipient.expires_at >= NOW + timedelta(hours=96)


def test_waits_that_the_rules_make_stay_as_they_are(hop: NextHop) -> None:
    recipient = queue(hop, at=NOW - timedelta(hours=50)).recipients.get()
    attempt(hop, NOW, Verdict.DEFERRED, "4.2.2 Mailbox full")
    before = Recipient.objects.get(pk=recipient.pk).next_attempt_at
    assert before > NOW + timedelta(hours=5)
    NextHop.objects.filter(pk=hop.pk).update(not_before=NOW + timedelta(seconds=120))
    assert clock.put_right(NOW) == 0
    assert Recipient.objects.get(pk=recipient.pk).next_attempt_at == before


def test_a_failure_of_the_future_gives_up_nothing_today(hop: NextHop) -> None:
    """On a route that is down, the last failure must come after the limit: one of the future does not."""
    queue(hop, at=NOW - timedelta(hours=90))
    NextHop.objects.filter(pk=hop.pk).update(state="down", last_failure_at=AHEAD, last_reply="no route")
    assert sending.expire_due(BACK) == 0
    assert Recipient.objects.get().state == "queued"


def test_a_lease_of_the_future_is_no_lease(hop: NextHop) -> None:
    queue(hop, at=NOW)
    assert claims.claim(hop.pk, "dead", 10, AHEAD)
    assert claims.free_abandoned(BACK) == 1
    assert claim(hop, BACK)
    assert claims.free_abandoned(BACK + LEASE) == 0


@pytest.mark.parametrize("jump", [DAYS, -DAYS])
def test_after_a_jump_the_leases_of_others_are_given_time(jump: timedelta) -> None:
    steady = 1000.0
    jumps = Jumps(lambda: steady)
    assert not jumps.jumped(NOW)
    steady += 10
    assert not jumps.jumped(NOW + timedelta(seconds=12))
    steady += 10
    assert jumps.jumped(NOW + timedelta(seconds=20) + jump)
    steady += 20
    assert jumps.jumped(NOW + timedelta(seconds=40) + jump)
    steady += 20
    assert not jumps.jumped(NOW + timedelta(seconds=60) + jump)


# --- Watching -----------------------------------------------------------------------------------------------


@pytest.fixture
def monitor(hop: NextHop) -> Monitor:
    made = Monitor.objects.create(
        account=hop.route.account, description="server", route=hop.route, threshold=3, judged_until=NOW
    )
    contact = Contact.objects.create(account=made.account, name="Maria")
    ContactPoint.objects.create(
        contact=contact, channel="email", address="maria@phone.example.net", verified_at=NOW
    )
    return made


def test_it_watches_again_and_opens_nothing_for_a_jump(monitor: Monitor) -> None:
    judge_due(NOW + timedelta(minutes=4, seconds=5))
    judge_due(AHEAD)
    assert Monitor.objects.get().judged_until == AHEAD - timedelta(minutes=2)
    assert Window.objects.latest("end").verdict == "unknown"
    judge_due(BACK)
    judged = Monitor.objects.get().judged_until
    assert judged
    assert judged <= BACK + timedelta(minutes=2)
    judge_due(BACK + timedelta(minutes=8))
    latest = Window.objects.latest("end")
    assert BACK < latest.end <= BACK + timedelta(minutes=8)
    # When the time that was judged comes in earnest, it is judged like any other.
    Monitor.objects.update(judged_until=AHEAD - timedelta(minutes=10))
    assert judge_due(AHEAD + timedelta(minutes=10)) > 0
    assert not Outage.objects.exists()


def test_an_outage_alerts_once_for_a_jump_and_goes_on_reminding(monitor: Monitor) -> None:
    account = monitor.account_id
    Outage.objects.create(account_id=account, monitor=monitor, failing_since=NOW, opened_at=NOW)
    assert alerts.decide(account, NOW) == 1
    assert alerts.decide(account, AHEAD) == 1, "one reminder, not one for each hour of three days"
    assert alerts.decide(account, AHEAD) == 0
    assert alerts.decide(account, BACK) == 0
    assert AlertStream.objects.get().next_at == BACK + timedelta(hours=1)
    assert [alerts.decide(account, BACK + timedelta(minutes=m)) for m in (1, 59, 61, 62)] == [0, 0, 1, 0]
    assert list(Notification.objects.order_by("pk").values_list("kind", flat=True)) == [
        "outage",
        "reminder",
        "reminder",
    ]


def test_an_outage_noticed_by_a_clock_that_was_ahead_alerts_at_once(monitor: Monitor) -> None:
    account = monitor.account_id
    Outage.objects.create(account_id=account, monitor=monitor, failing_since=AHEAD, opened_at=AHEAD)
    assert alerts.decide(account, BACK) == 1
    assert alerts.decide(account, BACK + timedelta(minutes=1)) == 0


def test_an_alert_does_not_wait_for_a_time_that_was_wrong(monitor: Monitor) -> None:
    """Put off, or claimed by a sender that died, while the clock was ahead."""
    contact = Contact.objects.get()
    context = {"account": "A", "monitor": "m", "since": NOW.isoformat(), "reply": "", "queued": 0}
    context |= {"oldest": None, "mode_until": None, "slot": 1}
    with decision(monitor.account_id, SCHEDULER, now=AHEAD) as decided:
        waits = notify(decided, contact, "outage", context, "waits")
        claimed = notify(decided, contact, "outage", context, "claimed")
    assert waits
    assert claimed
    Notification.objects.filter(pk=claimed.pk).update(state="sending", claimed_at=AHEAD)
    send_due(BACK)
    assert Attempt.objects.filter(notification=waits, started_at__lt=BACK + timedelta(minutes=1)).exists()
    claimed.refresh_from_db()
    assert claimed.claimed_at == BACK


def test_the_clock_of_the_jobs_goes_on(settings: Settings) -> None:
    for name in settings.RQ_QUEUES:
        django_rq.get_queue(name).empty()  # type: ignore[no-untyped-call]
    assert get_commands()["rqcron"] == "continuity_site"
    scheduler = Clock()
    scheduler.load_config_from_file("continuity_site.schedule")
    jobs = len(scheduler.get_jobs())
    with time_machine.travel(NOW, tick=False):
        assert len(scheduler.enqueue_jobs()) == jobs
    with time_machine.travel(AHEAD, tick=False):
        assert len(scheduler.enqueue_jobs()) == jobs
        assert scheduler.enqueue_jobs() == []
    with time_machine.travel(BACK, tick=False):
        assert scheduler.calculate_sleep_interval() <= 5
        assert len(scheduler.enqueue_jobs()) == jobs
        assert scheduler.enqueue_jobs() == []
