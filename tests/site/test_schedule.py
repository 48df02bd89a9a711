"""The clock: what is done every few seconds, with Redis and without it."""

from __future__ import annotations

import subprocess
import threading
from datetime import datetime
from pathlib import Path

import django_rq
import pytest
from django.utils import timezone
from django_rq.cron import DjangoCronScheduler
from pytest_django import Settings
from redis import Redis
from rq.job import Job

from accounts.models import Account
from continuity_site import embedded_redis, schedule
from continuity_site.management.commands import tick
from delivery.models import Route
from monitoring.models import Monitor
from tests.support.processes import Processes, wait_until


@pytest.fixture
def clock(settings: Settings) -> DjangoCronScheduler:
    """RQ's clock as `manage.py rqcron continuity_site.schedule` makes it, on empty queues."""
    for name in settings.RQ_QUEUES:
        django_rq.get_queue(name).empty()  # type: ignore[no-untyped-call]
    scheduler = DjangoCronScheduler()
    scheduler.load_config_from_file("continuity_site.schedule")
    return scheduler


def test_the_clock_enqueues_every_job_on_its_own_queue(clock: DjangoCronScheduler) -> None:
    enqueued = {(job.func_name, job.queue_name) for job in clock.enqueue_jobs()}
    assert enqueued == {
        ("monitoring.jobs.tick", "checks"),
        ("monitoring.jobs.beat", "checks"),
        ("events.jobs.tick", "alerts"),
        ("accounts.jobs.sweep", "bulk"),
        ("notifications.jobs.sweep", "alerts"),
        ("notifications.jobs.sweep_notices", "bulk"),
        ("delivery.jobs.bounce", "bulk"),
        ("delivery.jobs.sample", "checks"),
        ("delivery.jobs.housekeep", "bulk"),
    }
    assert {
        job.func_name for name in ("alerts", "checks", "bulk") for job in django_rq.get_queue(name).jobs
    } == {f"{job.function.__module__}.{job.function.__name__}" for job in schedule.PERIODIC}


def test_every_job_comes_round_within_five_seconds(clock: DjangoCronScheduler) -> None:
    assert all(2 <= (job.interval or 0) <= 5 for job in clock.get_jobs())


def test_jobs_do_not_pile_up_while_workers_are_away(clock: DjangoCronScheduler) -> None:
    for _ in range(50):
        for job in clock.get_jobs():
            job.enqueue(clock.connection)
    queues = [django_rq.get_queue(name) for name in ("alerts", "checks", "bulk")]
    assert sum(len(queue.jobs) for queue in queues) == 50 * len(schedule.PERIODIC)
    # What nobody took in time is gone by itself; a worker that comes back skips it.
    wait_until(lambda: not any(queue.jobs for queue in queues), "old jobs are gone", 10)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_ran_leaves_nothing_behind(clock: DjangoCronScheduler) -> None:
    made = [job.id for job in (each.enqueue(clock.connection) for each in clock.get_jobs())]
    for name in ("alerts", "checks", "bulk"):
        worker = django_rq.get_worker(name, worker_class="rq.worker.SimpleWorker")
        assert worker.work(burst=True, logging_level="WARNING")
        assert len(django_rq.get_queue(name).failed_job_registry) == 0
    assert not [job_id for job_id in made if Job.exists(job_id, connection=clock.connection)]


def monitor() -> Monitor:
    account = Account.objects.create(name="Example", slug="example")
    route = Route.objects.create(account=account, name="Mail server")
    return Monitor.objects.create(account=account, route=route, description="Watch it")


def run_once() -> None:
    """Run the periodic jobs as `tick` does, and wait for them."""
    jobs = tick.Directly()
    jobs.run()
    for thread in jobs.running():
        thread.join(30)
        assert not thread.is_alive()


def judged_until(watched: Monitor) -> datetime | None:
    watched.refresh_from_db()
    return watched.judged_until


@pytest.mark.django_db(transaction=True)
def test_running_directly_does_what_the_workers_do() -> None:
    watched = monitor()
    run_once()
    moment = judged_until(watched)
    assert moment
    assert moment <= timezone.now()


@pytest.mark.django_db(transaction=True)
def test_one_failing_job_keeps_no_other_from_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    watched = monitor()
    broken = schedule.Periodic(fail, "alerts", 2)
    monkeypatch.setattr(tick, "PERIODIC", (broken, *schedule.PERIODIC))
    run_once()
    assert judged_until(watched)
    assert "broken" in caplog.text


def test_a_job_that_hangs_holds_up_no_other_and_is_not_started_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, started, others = threading.Event(), [], []

    def hang() -> None:
        started.append(1)
        ended.wait(30)

    periodic = (
        schedule.Periodic(hang, "checks", 2),
        schedule.Periodic(lambda: others.append(1), "alerts", 2),
    )
    monkeypatch.setattr(tick, "PERIODIC", periodic)
    jobs = tick.Directly()
    for _ in range(3):
        jobs.run()
        wait_until(lambda: len(jobs.running()) == 1, "the other has run", 10)
    ended.set()
    assert len(others) == 3
    assert len(started) == 1


@pytest.mark.django_db(transaction=True)
def test_the_clock_goes_on_without_redis_and_steps_back_when_it_returns(
    database_url: str, tmp_path: Path
) -> None:
    socket = embedded_redis.socket_path(tmp_path)
    watched = monitor()
    with Processes(tmp_path, DATABASE_URL=database_url, REDIS_URL=f"unix://{socket}") as processes:
        processes.manage("tick", "tick", "--poll-seconds", "0.1", REDIS_AWAY_SECONDS="1")
        wait_until(lambda: judged_until(watched), "judged without Redis", 20)
        assert "periodic jobs run directly" in processes.logs()

        processes.start("redis", *embedded_redis.command(tmp_path))
        wait_until(lambda: "Redis answers again" in processes.logs(), "Redis was noticed", 20)
        Monitor.objects.update(judged_until=None)
        with Redis(unix_socket_path=str(socket)) as redis:
            seen = redis.info()["total_commands_processed"]
            wait_until(lambda: redis.info()["total_commands_processed"] > seen + 20, "several polls", 20)
        assert judged_until(watched) is None


def test_the_embedded_redis_keeps_its_data_and_listens_on_no_port(tmp_path: Path) -> None:
    socket = embedded_redis.socket_path(tmp_path)
    command = embedded_redis.command(tmp_path)
    for expected in (None, b"kept"):
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            with Redis(unix_socket_path=str(socket)) as redis:
                wait_until(socket.exists, "the socket is there")
                wait_until(lambda: not redis.info()["loading"], "loaded")
                assert redis.get("key") == expected
                assert redis.config_get("port") == {"port": "0"}
                redis.set("key", "kept")
        finally:
            server.terminate()
            server.wait(10)
