"""What people do to mail in the queue: what it changes, what it leaves alone, and what a kill costs."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import django_rq
import pytest
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, AlreadyDone, Refused
from delivery import jobs
from delivery.models import BulkAction, BulkActionItem, NextHop, Recipient
from delivery.reads.search import Criteria
from delivery.services import queue_actions, queue_steps
from delivery.services.queue_actions import start, stop, undo
from delivery.services.queue_changes import APPLIES_TO, RETURNED, UNDO
from delivery.services.queue_steps import advance, sweep
from tests.delivery.queue_rows import NOW, make_hop, make_many, make_recipient
from tests.support.processes import ROOT, wait_until

pytestmark = pytest.mark.django_db
QUEUED = Criteria(states=("queued",))
AFTER = {"hold": "held", "release": "queued", "bounce": "expired", "reject": "rejected"}


def do(kind: str, criteria: Criteria, hop: NextHop, to: NextHop | None = None, **more: str) -> BulkAction:
    route = to.route if to else None
    return start(
        hop.route.account_id, SCHEDULER, kind, criteria, reason="because", route=route, now=NOW, **more
    )


def states() -> dict[int, str]:
    return dict(Recipient.objects.values_list("pk", "state"))


@pytest.mark.parametrize("kind", BulkAction.Kind.values)
def test_each_action_changes_the_states_it_is_for_and_no_other(kind: str) -> None:
    hop, other = make_hop(), make_hop(name="Other")
    rows = {state: make_recipient(hop, state=state, faults=3).pk for state in Recipient.State.values}
    before = states()
    done = do(kind, Criteria(), hop, other if kind == "redirect" else None)
    changed = {rows[state] for state in APPLIES_TO[kind]}
    assert set(done.items.values_list("recipient_id", flat=True)) == changed
    assert (done.state, done.done, done.skipped) == ("done", len(changed), len(rows) - len(changed))
    for pk, state in states().items():
        assert state == (AFTER.get(kind, before[pk]) if pk in changed else before[pk])
    touched = Recipient.objects.filter(pk__in=changed)
    if kind == "redirect":
        assert set(touched.values_list("next_hop", flat=True)) == {other.pk}
    if kind == "retry":
        assert set(touched.values_list("next_attempt_at", flat=True)) == {NOW}
    if kind == "release":
        assert set(touched.values_list("faults", "next_attempt_at")) == {(0, NOW)}
    if kind == "reject":
        assert set(touched.values_list("final_at", flat=True)) == {NOW}
    entry = AuditEntry.objects.get(action=f"queue.{kind}")
    assert (entry.reason, entry.subject) == ("because", f"bulk:{done.pk}")
    assert (entry.details["count"], entry.details["done"]) == (8, len(changed))


def test_the_bouncer_takes_what_was_bounced() -> None:
    hop = make_hop()
    row = make_recipient(hop, sender="", last_reply="")  # a null sender is told nothing
    do("bounce", QUEUED, hop)
    assert list(Recipient.objects.bounce_due(NOW)) == [row]
    row.refresh_from_db()
    assert row.last_reply == RETURNED
    jobs.bounce()
    row.refresh_from_db()
    assert row.state == "rejected"


def test_a_reason_and_something_to_act_on_are_needed() -> None:
    hop = make_hop()
    with pytest.raises(Refused, match="Nothing matches"):
        do("hold", QUEUED, hop)
    make_recipient(hop)
    with pytest.raises(Refused, match="Say why"):
        start(hop.route.account_id, SCHEDULER, "hold", QUEUED, reason="  ")
    for route in (None, make_hop("theirs").route):
        with pytest.raises(Refused, match="Choose the route"):
            start(hop.route.account_id, SCHEDULER, "redirect", QUEUED, reason="x", route=route)
    assert not BulkAction.objects.exists()
    assert set(states().values()) == {"queued"}


def test_another_account_is_out_of_reach() -> None:
    ours, theirs = make_hop(), make_hop("theirs")
    mine, foreign = make_recipient(ours), make_recipient(theirs)
    do("hold", Criteria(ids=(mine.pk, foreign.pk)), ours)
    assert states() == {mine.pk: "held", foreign.pk: "queued"}


def test_a_form_sent_twice_acts_once() -> None:
    hop = make_hop()
    make_recipient(hop)
    do("hold", QUEUED, hop, request_key="one")
    with pytest.raises(AlreadyDone):
        do("hold", QUEUED, hop, request_key="one")
    assert BulkAction.objects.count() == 1


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_actions, "AT_ONCE", 5)
    monkeypatch.setattr(queue_steps, "STEP", 4)


def test_what_comes_after_the_question_is_not_swept_along(small_steps: None) -> None:
    hop = make_hop()
    make_many(hop, 10)
    done = do("hold", QUEUED, hop)
    late = make_many(hop, 3)
    while advance(done.pk, NOW):
        pass
    done.refresh_from_db()
    assert (done.state, done.done) == ("done", 10)
    assert {states()[pk] for pk in late} == {"queued"}


def test_what_is_delivered_meanwhile_is_left_alone_and_counted(small_steps: None) -> None:
    hop = make_hop()
    ids = make_many(hop, 10)
    done = do("bounce", Criteria(), hop)
    assert done.state == "running"
    assert advance(done.pk, NOW)
    Recipient.objects.filter(pk=ids[6]).update(state="delivered", final_at=NOW)
    Recipient.objects.filter(pk=ids[7]).update(state="sending", claimed_by="c", claimed_at=NOW)
    while advance(done.pk, NOW):
        pass
    done.refresh_from_db()
    assert (done.done, done.skipped, done.seen) == (8, 2, 10)
    assert (states()[ids[6]], states()[ids[7]]) == ("delivered", "sending")
    finished = AuditEntry.objects.get(action="queue.finished")
    assert finished.details == {"done": 8, "skipped": 2}


def test_two_workers_at_one_action_do_each_step_once(small_steps: None) -> None:
    hop = make_hop()
    make_many(hop, 11)
    done = do("hold", QUEUED, hop)
    going = True
    while going:
        going = advance(done.pk, NOW)
        advance(done.pk, NOW)
    done.refresh_from_db()
    assert (done.done, done.seen) == (11, 11)
    assert BulkActionItem.objects.count() == 11


def test_stopped_it_goes_no_further(small_steps: None) -> None:
    hop = make_hop()
    make_many(hop, 10)
    done = do("hold", QUEUED, hop)
    advance(done.pk, NOW)
    stop(done, SCHEDULER, now=NOW)
    assert not advance(done.pk, NOW)
    assert sorted(states().values()) == ["held"] * 4 + ["queued"] * 6
    with pytest.raises(Refused, match="ended already"):
        stop(done, SCHEDULER)
    assert AuditEntry.objects.filter(action="queue.stopped").count() == 1


@pytest.mark.parametrize("kind", UNDO)
def test_what_can_be_taken_back_is_taken_back_where_it_still_is_as_it_was_left(
    kind: str, small_steps: None
) -> None:
    hop, other = make_hop(), make_hop(name="Other")
    before = "held" if kind == "release" else "queued"
    ids = make_many(hop, 10, before)
    untouched = make_recipient(other, state="held" if kind == "hold" else "queued")
    done = do(kind, Criteria(ids=tuple(ids)), hop, other if kind == "redirect" else None)
    while advance(done.pk, NOW):
        pass
    Recipient.objects.filter(pk=ids[0]).update(state="delivered", final_at=NOW)
    done.refresh_from_db()
    back = undo(done, SCHEDULER, reason="a mistake", now=NOW)
    while advance(back.pk, NOW):
        pass
    back.refresh_from_db()
    assert (back.state, back.done, back.skipped) == ("done", 9, 1)
    assert {states()[pk] for pk in ids[1:]} == {before}
    assert states()[ids[0]] == "delivered"
    assert set(Recipient.objects.filter(pk__in=ids[1:]).values_list("next_hop", flat=True)) == {hop.pk}
    untouched.refresh_from_db()
    assert untouched.next_hop == other
    assert AuditEntry.objects.get(action="queue.undone").subject == f"bulk:{done.pk}"
    with pytest.raises(Refused, match="undone already"):
        undo(done, SCHEDULER, reason="again")
    with pytest.raises(Refused, match="cannot be undone"):
        undo(back, SCHEDULER, reason="back and forth")


@pytest.mark.parametrize("kind", ["retry", "bounce", "reject"])
def test_the_rest_cannot_be_taken_back(kind: str) -> None:
    hop = make_hop()
    make_recipient(hop)
    with pytest.raises(Refused, match="cannot be undone"):
        undo(do(kind, QUEUED, hop), SCHEDULER, reason="x")


@pytest.mark.django_db(transaction=True)
def test_more_than_a_hundred_are_done_by_a_job_or_by_the_sweep_when_the_job_is_lost() -> None:
    queue = django_rq.get_queue("bulk")
    queue.empty()  # type: ignore[no-untyped-call]
    hop = make_hop()
    make_many(hop, 101)
    done = do("hold", QUEUED, hop)
    assert [job.func_name for job in queue.jobs] == ["delivery.jobs.bulk_action"]
    worker = django_rq.get_worker("bulk", worker_class="rq.worker.SimpleWorker")
    assert worker.work(burst=True, logging_level="WARNING")
    done.refresh_from_db()
    assert (done.state, done.done, done.total) == ("done", 101, 101)

    back = undo(done, SCHEDULER, reason="x")
    queue.empty()  # type: ignore[no-untyped-call]
    assert sweep(timezone.now()) == 0, "somebody may be at it"
    assert sweep(timezone.now() + timedelta(seconds=20)) == 1
    back.refresh_from_db()
    assert (back.state, back.done) == ("done", 101)


@pytest.mark.django_db(transaction=True)
def test_killed_at_any_moment_it_goes_on_where_it_had_come_to(database_url: str) -> None:
    hop = make_hop()
    make_many(hop, 6000)
    done = do("hold", QUEUED, hop)
    code = f"import django; django.setup(); from delivery.services.queue_steps import run; run({done.pk})"
    environment = os.environ | {
        "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "continuity_site.settings",
    }  # fmt: skip
    quiet = subprocess.DEVNULL

    def progress() -> int:
        return BulkAction.objects.values_list("seen", flat=True).get(pk=done.pk)

    def reached(least: int) -> None:
        wait_until(lambda: progress() >= least, "it began", 30)

    for least in (1, 2500):
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdin=quiet, stdout=quiet, stderr=quiet
        )
        try:
            reached(least)
        finally:
            process.kill()
            process.wait(10)
        assert BulkAction.objects.get(pk=done.pk).done == Recipient.objects.filter(state="held").count()
        assert BulkActionItem.objects.count() == progress() < 6000
    queue_steps.run(done.pk)
    done.refresh_from_db()
    assert (done.state, done.done, done.seen, done.skipped) == ("done", 6000, 6000, 0)
    assert set(states().values()) == {"held"}
    assert BulkActionItem.objects.values("recipient").distinct().count() == 6000
