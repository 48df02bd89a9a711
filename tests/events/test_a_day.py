"""24 hours of an outage with a clock that jumps: exactly 25 alerts to each contact, whatever dies."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta

import django_rq
import pytest
import time_machine
from pytest_django import DjangoCaptureOnCommitCallbacks
from redis import Redis
from rq import Queue

from accounts.models import Contact
from events import services
from notifications import jobs
from notifications.models import Attempt, ContactPoint, DemoMessage, Notification
from notifications.services import progress
from tests.events.conftest import NIGHT, World
from tests.events.test_alerts import HOUR, told

KILLS = 3


class Killed(BaseException):
    """The worker died: nothing of ours may catch it."""


def work(queue: Queue) -> None:
    """What a worker does with the jobs that are in Redis, in this process and at this time."""
    for job in queue.get_jobs():
        queue.remove(job)
        job.func(*job.args)


def a_step(queue: Queue, now: datetime, dice: random.Random, redis: str) -> None:
    """One or two clocks at once, the worker with the job it may have, and the sweep."""
    with time_machine.travel(now, tick=False):
        for _ in range(dice.choice((1, 2))):
            services.tick(now)
        if redis == "wiped" and dice.random() < 0.5:
            queue.connection.flushall()
        if redis != "down":
            work(queue)
        for _ in range(dice.choice((1, 2))):
            jobs.sweep()


@pytest.mark.parametrize("redis", ["there", "wiped", "down"])
def test_a_day_of_outage_is_exactly_25_alerts_to_each_contact(
    redis: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    world.account.is_demo = True  # its inbox is the provider that is asked what arrived
    world.account.save()
    for number, contact in enumerate((world.maria, world.jo)):
        ContactPoint.objects.create(
            contact=contact, channel="sms", address=f"+4915123456{number:03}", verified_at=NIGHT
        )
    queue = django_rq.get_queue("alerts")
    queue.connection.flushall()
    if redis == "down":
        away = Redis.from_url("unix:///nowhere/redis.sock")
        monkeypatch.setattr(django_rq, "get_queue", lambda name: Queue(name, connection=away))
    dice = random.Random(redis)
    kills_at = sorted(dice.sample(range(2, 23), KILLS))
    killed = die_after_acceptance(monkeypatch)
    world.fails(NIGHT)
    now = NIGHT
    while now < NIGHT + 24 * HOUR:
        if kills_at and now >= NIGHT + kills_at[0] * HOUR:
            kills_at.pop(0)
            killed.armed = True
        try:
            with django_capture_on_commit_callbacks(execute=True):
                a_step(queue, now, dice, redis)
        except Killed:
            now += timedelta(seconds=130)  # another worker finds what it left
            continue
        now += timedelta(seconds=dice.choice((2, 1800, 3000, 3500)))
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            a_step(queue, NIGHT + 24 * HOUR, dice, redis)
    with django_capture_on_commit_callbacks(execute=True):
        a_step(queue, NIGHT + 24 * HOUR + timedelta(minutes=3), dice, redis)

    assert killed.times == KILLS
    for contact in (world.maria, world.jo):
        assert_25_alerts(contact)
    assert told(world.kim) == [], "the monitor has contacts, and Kim is none of them"
    assert set(Notification.objects.values_list("state", flat=True)) == {"sent"}
    repeated = Attempt.objects.filter(repeat=True).count()
    assert repeated == KILLS, "each death at that moment costs one repeat, and it is marked"


def assert_25_alerts(contact: Contact) -> None:
    assert len(told(contact, "outage")) == 1
    times = told(contact)
    # Each in its own hour counted from the first: no drift, however late the tick was.
    assert [(at - NIGHT) // HOUR for at in times] == list(range(25))
    got = DemoMessage.objects.filter(to=contact.points.get().address).values_list("text", flat=True)
    marked = Counter("(Repeat)" in text for text in got)
    assert marked[False] == 25


class Deaths:
    """Whether the next acceptance kills, and how many have."""

    armed = False
    times = 0


def die_after_acceptance(monkeypatch: pytest.MonkeyPatch) -> Deaths:
    """When armed, the sender dies between the provider's acceptance and our commit."""
    deaths, finish = Deaths(), progress.finish

    def dying(attempt: Attempt, outcome: progress.Outcome, now: datetime) -> bool:
        if deaths.armed:
            deaths.armed, deaths.times = False, deaths.times + 1
            raise Killed
        return finish(attempt, outcome, now)

    monkeypatch.setattr(progress, "finish", dying)
    return deaths
