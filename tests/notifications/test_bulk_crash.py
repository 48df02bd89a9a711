"""A worker of a bulk notice is killed in the middle; several work at one; Redis forgets."""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import django_rq
import pytest
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisIsAway

from accounts.models import Account
from accounts.services import SCHEDULER
from notifications import jobs
from notifications.bulk import decisions, progress, rules, sending
from notifications.bulk.models import Notice
from tests.notifications.test_bulk import Write, add_person, fates, write
from tests.support.processes import Process, wait_until
from tests.support.relay import Relay

__all__ = ["write"]  # a fixture
PEOPLE = 120


def worker(notice: Notice, database_url: str, log: Path, relay: Relay) -> Process:
    """A real process that works at the notice until nothing is left for it."""
    code = (
        "from django.utils import timezone; from notifications.bulk import sending\n"
        f"while sending.run({notice.pk}, timezone.now()): pass"
    )
    environment = os.environ | {"DATABASE_URL": database_url, "ALERT_EMAIL_URL": relay.url}
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    return Process("sender", command, environment, log)


def started(account: Account, write: Write) -> Notice:
    for n in range(PEOPLE):
        add_person(account, n)
    notice = write()
    decisions.start(account.pk, SCHEDULER, notice.pk)
    return notice


def copies(relay: Relay) -> Counter[str]:
    return Counter(mail.recipients[0] for mail in relay.received)


def test_killed_at_half_nobody_is_missed_and_nobody_told_twice(
    account: Account, write: Write, mail_relay: Relay, database_url: str, tmp_path: Path
) -> None:
    notice = started(account, write)
    process = worker(notice, database_url, tmp_path / "sender.log", mail_relay)
    try:
        wait_until(lambda: len(mail_relay.received) >= PEOPLE / 2, "half is sent", 30)
    finally:
        process.kill()
    in_flight = fates(notice).get("sending", 0)
    arrived = len(mail_relay.received)
    assert arrived < PEOPLE, "it was killed in the middle"
    sending.sweep(timezone.now() + rules.STUCK_AFTER + timedelta(seconds=5))
    notice.refresh_from_db()
    assert notice.state == "done", process.log()
    told = copies(mail_relay)
    assert set(told.values()) == {1}, "nobody twice"
    states = fates(notice)
    assert states.get("unknown", 0) == in_flight <= 60
    assert states["sent"] + in_flight == PEOPLE
    unsure = set(notice.recipients.filter(state="unknown").values_list("address", flat=True))
    assert {f"person{n}@elsewhere.example" for n in range(PEOPLE)} - set(told) <= unsure, "nobody missed"


def test_several_at_once_tell_each_person_once(
    account: Account, write: Write, mail_relay: Relay, database_url: str, tmp_path: Path
) -> None:
    notice = started(account, write)
    processes = [worker(notice, database_url, tmp_path / f"{n}.log", mail_relay) for n in range(2)]
    try:
        wait_until(lambda: fates(notice).get("sent") == PEOPLE, "all are sent", 30)
    finally:
        for process in processes:
            process.kill()
    assert set(copies(mail_relay).values()) == {1}


@pytest.mark.django_db(transaction=True)
def test_a_wiped_redis_delays_a_notice_and_loses_nothing(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    add_person(account, 1)
    queue = django_rq.get_queue("bulk")
    queue.empty()  # type: ignore[no-untyped-call]
    notice = write()
    decisions.start(account.pk, SCHEDULER, notice.pk)
    assert [job.func_name for job in queue.jobs] == ["notifications.jobs.send_notice"]
    assert [job.origin for job in queue.jobs] == ["bulk"], "never in the way of an alert"
    queue.connection.flushdb()
    assert jobs.sweep_notices() == 1
    assert fates(notice) == {"sent": 1}


@pytest.mark.django_db(transaction=True)
def test_without_redis_sweeps_send_it_one_after_the_other(
    account: Account, write: Write, mail_relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        add_person(account, n)
    notice = write()
    decisions.start(account.pk, SCHEDULER, notice.pk)
    monkeypatch.setattr(progress, "STEP", 2)
    monkeypatch.setattr(sending, "SLICE_SECONDS", 0.0)  # over before anything is handed over
    queue = django_rq.get_queue("bulk")
    monkeypatch.setattr(type(queue), "enqueue", _away)
    now = timezone.now()
    assert [sending.sweep(now), sending.sweep(now)] == [1, 1], "at once, not when it counts as abandoned"
    monkeypatch.setattr(sending, "SLICE_SECONDS", 60.0)
    sending.sweep(now)
    assert fates(notice) == {"sent": 3}


def _away(*_arguments: object, **_options: object) -> None:
    raise RedisIsAway


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_the_queue_sends_it(account: Account, write: Write, mail_relay: Relay) -> None:
    queue = django_rq.get_queue("bulk")
    queue.empty()  # type: ignore[no-untyped-call]
    add_person(account, 1)
    notice = write()
    decisions.start(account.pk, SCHEDULER, notice.pk)
    worker = django_rq.get_worker("bulk", worker_class="rq.worker.SimpleWorker")
    assert worker.work(burst=True, logging_level="WARNING")
    assert fates(notice) == {"sent": 1}
