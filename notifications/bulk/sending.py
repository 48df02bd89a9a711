"""Sending a notice: list its people, then claim copies, hand them over, write down what became of them.

A job works for a few seconds and comes back to the end of its queue. It may be killed at any line, and any
number of them may work at one notice: what counts is in the copies' rows.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.services import SCHEDULER, decision
from notifications.bulk import progress, rules, texts
from notifications.bulk.decisions import enqueue, locked
from notifications.bulk.lanes import Lane, Outcome
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.bulk.progress import Claimed, Fate
from notifications.rules import Limit
from notifications.services.progress import keep_trying
from notifications.services.sending import running_clock
from notifications.transports import Rendered

logger = logging.getLogger(__name__)
Copy = NoticeRecipient.State

# Then others in the job queue have their turn, and a worker that is to stop stops.
SLICE_SECONDS = 4.0
# Outcomes are written down together as they come: so many, or those of so many seconds.
TOGETHER, GATHER_SECONDS = 100, 0.2
ABANDONED = timedelta(seconds=10)


def send_slice(notice_id: int) -> None:
    """Carry a notice on, and come back to the end of the job queue for the rest."""
    if run(notice_id, timezone.now()):
        enqueue(notice_id)


def sweep(now: datetime) -> int:
    """Carry on with notices that nobody works at: a try is due, a worker was killed, or Redis was away.

    Ends what was left in the middle by a crash: it has perhaps been sent. Safe to run twice at once.
    """
    progress.give_up_stuck(now)
    notices = Notice.objects.filter(state=Notice.State.RUNNING)
    idle = Q(beat_at=None) | Q(beat_at__lt=now - ABANDONED) | Q(beat_at__gt=now + ABANDONED)
    ready = Q(away_until=None) | Q(away_until__lte=now) | Q(away_until__gt=now + rules.AWAY[-1])
    found = list(notices.filter(idle, ready).order_by("beat_at", "pk").values_list("pk", flat=True)[:10])
    for notice_id in found:
        if run(notice_id, now, SLICE_SECONDS / len(found)) and not enqueue(notice_id):
            progress.rest(notice_id)
    return len(found)


def run(notice_id: int, now: datetime, seconds: float = SLICE_SECONDS) -> bool:
    """Work at a notice for so long; True when there is more to do at once."""
    clock, until = running_clock(now), time.monotonic() + seconds
    notice = Notice.objects.select_related("account").get(pk=notice_id)
    if notice.state != Notice.State.RUNNING or (notice.away_until and notice.away_until > now):
        return False
    while not notice.listed and keep_trying(lambda: progress.list_people(notice_id, clock())):
        if time.monotonic() > until:
            return True
    more = _Slice(notice, clock, until).run()
    if not more:
        keep_trying(lambda: _finish(notice_id, clock()))
    return more


def _finish(notice_id: int, now: datetime) -> None:
    """A notice of which nothing waits any more is finished. That is a decision of the clock."""
    left = NoticeRecipient.objects.filter(notice=notice_id, state__in=(Copy.PENDING, Copy.SENDING))
    if left.exists():
        return
    account_id = Notice.objects.values_list("account_id", flat=True).get(pk=notice_id)
    with decision(account_id, SCHEDULER, now=now) as made:
        notice = locked(notice_id)
        if notice.state != Notice.State.RUNNING or not notice.listed or left.exists():
            return
        notice.state, notice.ended_at = Notice.State.DONE, made.now
        notice.save(update_fields=["state", "ended_at"])
        counts = dict(notice.recipients.values_list("state").annotate(Count("pk")).order_by())
        subject = f"notice:{notice_id}"
        made.record("notice.finished", subject=subject, after=notice.subject[:160], **counts)


class _Slice:
    """A few seconds of work at one notice, under one claim token."""

    def __init__(self, notice: Notice, clock: Callable[[], datetime], until: float) -> None:
        self.notice, self.clock, self.until = notice, clock, until
        self.token = secrets.token_hex(16)
        self.outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self.lanes = [
            Lane(channel, self.outcomes, self._render(channel), is_demo=notice.account.is_demo)
            for channel in notice.order
        ]
        self.held = 0  # copies claimed and not settled
        self.sent = 0
        self.refused: list[Outcome] = []  # for reasons that were not theirs
        self.limit: Limit | None = None  # one that lets the notice wait
        self.renewed = clock()

    def run(self) -> bool:
        keep_trying(lambda: progress.beat(self.notice.pk, self.clock()))
        try:
            fates: list[Fate] = []
            while self._turn(fates) or self.held:
                fates = self._fates(self._gathered())
                self._renew()
        finally:
            for lane in self.lanes:
                lane.close()
        return self._end()

    def _render(self, channel: str) -> Callable[[Claimed], Rendered]:
        notice, name = self.notice, self.notice.account.name
        return lambda copy: texts.render(notice, name, channel, copy)

    def _turn(self, fates: list[Fate]) -> bool:
        """Write down what became of copies, and give the lanes new ones while there is time, in one
        transaction; afterwards take back what nobody began. Whether to go on.
        """
        stopping, waiting = time.monotonic() >= self.until, False
        wanted: list[tuple[Lane, int]] = []
        for lane in self.lanes:
            if stopping or not lane.alive:
                fates = [*fates, *(Fate(copy, Copy.PENDING) for copy in lane.take_back())]
            elif room := lane.room:
                if allowed := self._allowed(lane, room):
                    wanted.append((lane, allowed))
                else:
                    waiting |= lane.allowance.exhausted() is None
        if not fates and not wanted:
            return waiting
        further, claimed = keep_trying(partial(self._commit, fates, wanted))
        self.held += sum(map(len, claimed)) - len(fates)
        for (lane, allowed), copies in zip(wanted, claimed, strict=True):
            lane.allowance.draw(len(copies))
            lane.dry = len(copies) < allowed
            lane.put(copies)
        self._go_on(further)
        return waiting or bool(further) or any(claimed)

    def _go_on(self, further: int) -> None:
        """So many copies failed, and are due by another channel now."""
        for lane in self.lanes if further else ():
            lane.dry = False

    def _allowed(self, lane: Lane, room: int) -> int:
        """How many of them the limits allow."""
        allowed = keep_trying(lambda: lane.allowance.room(room, self.clock()))
        if not allowed:
            self.limit = lane.allowance.exhausted() or self.limit
        return allowed

    def _commit(self, fates: list[Fate], wanted: list[tuple[Lane, int]]) -> tuple[int, list[list[Claimed]]]:
        now, notice_id, token = self.clock(), self.notice.pk, self.token
        with transaction.atomic():
            further = progress.settle(notice_id, token, fates, now) if fates else 0
            return further, [
                progress.claim(notice_id, lane.channel, token, room, now) for lane, room in wanted
            ]

    def _gathered(self) -> list[Outcome]:
        """The outcomes of a moment; none when nothing ended in it."""
        found: list[Outcome] = []
        if not self.held:
            time.sleep(GATHER_SECONDS / 3)  # a limit of the moment is reached
        latest = time.monotonic() + GATHER_SECONDS
        # Half of them, so that the threads are at the other half while these are written down.
        while len(found) < min(TOGETHER, -(-self.held // 2)):
            try:
                found.append(self.outcomes.get(timeout=max(0.0, latest - time.monotonic())))
            except Empty:
                break
        return found

    def _fates(self, outcomes: list[Outcome]) -> list[Fate]:
        """What is to be written down. Refusals that are nobody's own are decided about at the end."""
        now, fates = self.clock(), []
        for outcome in outcomes:
            if outcome.everybody and outcome.state == Copy.PENDING:
                outcome.lane.alive -= 1
                self.refused.append(outcome)
                self.held -= 1
            else:
                self.sent += outcome.state == Copy.SENT
                fates.append(_fate(outcome, now))
        return fates

    def _renew(self) -> None:
        now = self.clock()
        if now - self.renewed >= rules.RENEW_AFTER / 4:
            keep_trying(lambda: progress.renew(self.notice.pk, self.token, now))
            self.renewed = now

    def _end(self) -> bool:
        """Decide about those refused for no reason of theirs. True when more is due at once."""
        now = self.clock()
        if self.refused and not self.sent:
            # Nobody could be told: that is one fact, and uses up nobody's tries.
            fates = [Fate(outcome.copy, Copy.PENDING) for outcome in self.refused]
            keep_trying(lambda: progress.settle(self.notice.pk, self.token, fates, now))
            keep_trying(lambda: progress.away(self.notice.pk, self.refused[-1].words, now))
            return False
        if self.refused:
            fates = [_fate(outcome, now) for outcome in self.refused]
            self._go_on(keep_trying(lambda: progress.settle(self.notice.pk, self.token, fates, now)))
        if self.sent:
            keep_trying(lambda: progress.back(self.notice.pk))
        elif self.limit:
            words = _limit_words(self.limit)
            keep_trying(lambda: progress.away(self.notice.pk, words, now))
            return False
        return any(lane.alive and not lane.dry for lane in self.lanes)


def _limit_words(limit: Limit) -> str:
    return _("The limit of this installation is reached: %(number)d SMS in %(hours)d h.") % {
        "number": limit.most,
        "hours": limit.within.total_seconds() / 3600,
    }


def _fate(outcome: Outcome, now: datetime) -> Fate:
    """Refused for now is refused for good after the last try."""
    if outcome.state != Copy.PENDING:
        return Fate(outcome.copy, outcome.state, outcome.words)
    wait = rules.wait_of_copy(outcome.copy.tries, everybody=outcome.everybody)
    if wait is None:
        return Fate(outcome.copy, Copy.FAILED, outcome.words)
    return Fate(outcome.copy, Copy.PENDING, outcome.words or "?", now + wait)
