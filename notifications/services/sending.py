"""Out of the outbox: claim, write down the intent, send outside any transaction, write down the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from notifications import rules, texts
from notifications.models import Attempt, ContactPoint, Notification
from notifications.services import limits, progress
from notifications.services.links import link_of
from notifications.services.points import disable_point, usable_points
from notifications.services.progress import Outcome
from notifications.transports import (
    PermanentFailure,
    Rendered,
    TemporaryFailure,
    kept_open,
    transport_for,
)

logger = logging.getLogger(__name__)

# One sweep takes so many rows, and starts none after so many seconds: the job's time-out is 180.
SWEEP_ROWS = 500
SWEEP_SECONDS = 60
# A handful is sent one after the other; more at once, on a database connection each.
SWEEP_THREADS = 8
FEW = 4

Clock = Callable[[], datetime]


def running_clock(now: datetime) -> Clock:
    """A clock that reads `now` at this moment and goes on from there."""
    started = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - started)


def send(notification_id: int, now: datetime | None = None) -> None:
    """Send one pending notification if it is due and nobody else has claimed it."""
    clock = running_clock(now or timezone.now())
    held = clock()
    if progress.claim(notification_id, held):
        _Sending(notification_id, held, clock).run()


def send_due(now: datetime) -> int:
    """Send every notification that is due, or was left in the middle by a crash. Returns how many.

    Safe to run at any time and by several at once; needs no Redis.
    """
    clock = running_clock(now)
    progress.put_right(now)
    stuck = list(
        Notification.objects.stuck(now - rules.STUCK_AFTER).values_list("pk", flat=True)[:SWEEP_ROWS]
    )
    due = list(Notification.objects.due(now).values_list("pk", flat=True)[: SWEEP_ROWS - len(stuck)])
    tasks = [(progress.take_over, pk) for pk in stuck] + [(progress.claim, pk) for pk in due]
    latest = now + timedelta(seconds=SWEEP_SECONDS)

    def work(task: tuple[Callable[[int, datetime], bool], int]) -> int:
        take, pk = task
        held = clock()
        try:
            if held > latest or not take(pk, held):
                return 0
            _Sending(pk, held, clock).run()
        except Exception:  # one row's trouble stops no other; what it leaves behind is found by a sweep
            logger.exception("sending notification %s", pk)
            connection.close_if_unusable_or_obsolete()
        return 1

    left = iter(tasks)

    def work_through(_thread: int) -> int:
        with kept_open():
            return sum(map(work, left))

    if len(tasks) <= FEW:
        return work_through(0)

    def work_in_thread(thread: int) -> int:
        try:
            return work_through(thread)
        finally:
            connection.close()

    with ThreadPoolExecutor(SWEEP_THREADS) as pool:
        return sum(pool.map(work_in_thread, range(SWEEP_THREADS)))


@dataclass
class _Sending:
    """One claim on a notification, and what is done under it. `held` is the claim: the row's `claimed_at`."""

    notification_id: int
    held: datetime
    clock: Clock
    link: str = ""

    def run(self) -> None:
        notification = Notification.objects.select_related("account", "contact").get(pk=self.notification_id)
        minutes = notification.context.get("stale_minutes")
        stale = rules.stale_at(notification.kind, notification.created_at, minutes)
        while True:
            if self.clock() >= stale:
                why = notification.held_back or self._last_words()
                self._give_up(_("It was too old to be sent: %s") % why)
                return
            points = usable_points(notification, self.clock())
            held = limits.held_back(notification, points.values(), self.clock())
            step = self._next_step(notification, [pk for pk in points if pk not in held])
            if isinstance(step, rules.Wait) or (held and isinstance(step, rules.GiveUp)):
                self._wait(step, min(held.values(), key=lambda one: one.until, default=None), stale)
                return
            if isinstance(step, rules.Enough):
                note = self._left_out(held) if notification.points_wanted > 1 else ""
                progress.sent(self.notification_id, self.held, self.clock(), note)
                return
            if isinstance(step, rules.GiveUp):
                self._give_up(self._reason(notification, step))
                return
            if not self._use(notification, points[step.point], repeat=step.repeat):
                return

    def _wait(self, step: rules.Wait | rules.GiveUp, held: limits.Held | None, stale: datetime) -> None:
        now = self.clock()
        if held and isinstance(step, rules.GiveUp):
            due = rules.held_until(held.until, stale, now)
        else:
            due = rules.next_try(self._rounds(), stale, now)
        if held:
            logger.warning("notification %s is held back: %s", self.notification_id, held.reason)
        progress.wait(self.notification_id, self.held, due, held.reason if held else "")

    def _left_out(self, held: dict[int, limits.Held]) -> str:
        """Why one of several contact points was not used."""
        used = Attempt.objects.filter(notification=self.notification_id).values_list("point", flat=True)
        return next((held[pk].reason for pk in held.keys() - set(used)), "")

    def _use(self, notification: Notification, point: ContactPoint, *, repeat: bool) -> bool:
        """Make one attempt. Says whether to go on: it was not accepted, and the claim is still ours."""
        try:
            self.link = self.link or link_of(notification, self.clock())
            message = texts.render(
                notification, point, self.link, self.clock(), repeat=repeat, edited=self._edited(notification)
            )
        except texts.Unwritable as error:
            self._give_up(str(error))
            return False
        now = self.clock()
        attempt = progress.begin(self.notification_id, self.held, point, repeat=repeat, now=now)
        if attempt is None:
            return False
        self.held = now
        message_id = f"{self.notification_id}.{attempt.pk}"
        outcome = _hand_over(texts.addressed(message, message_id), notification.account.is_demo)
        outcome = replace(outcome, words=texts.without_secrets(outcome.words, self.link, point))
        return progress.keep_trying(lambda: self._finish(notification, attempt, outcome))

    def _edited(self, notification: Notification) -> dict[str, str]:
        language = notification.contact.language
        return texts.edited_texts(notification.account_id, notification.kind, language)

    def _finish(self, notification: Notification, attempt: Attempt, outcome: Outcome) -> bool:
        """Write down how the attempt ended, in one transaction. Says whether to go on."""
        now = self.clock()
        with transaction.atomic():
            if outcome.state == Attempt.State.PERMANENT and attempt.point_id:
                disable_point(notification.account_id, attempt.point_id, outcome.words, now)
            ended = progress.finish(attempt, outcome, now)
            # Where it should go to more contact points, the next step decides.
            if ended and outcome.state == Attempt.State.SENT and notification.points_wanted == 1:
                progress.sent(self.notification_id, self.held, now)
                return False
        return True

    def _next_step(
        self, notification: Notification, points: list[int]
    ) -> rules.Use | rules.Wait | rules.Enough | rules.GiveUp:
        if not notification.contact.active:
            points = []
        ever, this_round = [], []
        for attempt in Attempt.objects.filter(notification=notification).order_by("pk"):
            tried = rules.Tried(attempt.point_id or 0, attempt.state, attempt.repeat)
            ever.append(tried)
            # A round begins when the notification falls due.
            if attempt.started_at >= notification.due_at:
                this_round.append(tried)
        return rules.next_step(points, ever, this_round, notification.points_wanted)

    def _rounds(self) -> int:
        """Rounds so far in which something failed for now: the most that any one point failed."""
        failed = Attempt.objects.filter(notification=self.notification_id, state=Attempt.State.TEMPORARY)
        points = list(failed.values_list("point", flat=True))
        return max((points.count(point) for point in set(points)), default=1)

    def _reason(self, notification: Notification, step: rules.GiveUp) -> str:
        if not notification.contact.active:
            return _("The contact is not active.")
        if step.reason == rules.NO_POINT:
            return _("The contact has no contact point that is verified and not disabled.")
        if step.reason == rules.PERHAPS_ARRIVED:
            return _("It is not known whether it arrived: %s") % self._last_words()
        return _("Every contact point refused it: %s") % self._last_words()

    def _last_words(self) -> str:
        attempts = Attempt.objects.filter(notification=self.notification_id).order_by("-pk")
        words = attempts.values_list("provider_reply", flat=True).first()
        return words or _("no attempt was made.")

    def _give_up(self, reason: str) -> None:
        """It goes to no further contact point: failed, unless one has it."""
        attempts = Attempt.objects.filter(notification=self.notification_id)
        if attempts.filter(state__in=rules.ACCEPTED).exists():
            progress.sent(self.notification_id, self.held, self.clock())
            return
        logger.warning("notification %s failed", self.notification_id)
        progress.failed(self.notification_id, self.held, reason)


def _hand_over(message: Rendered, is_demo: bool) -> Outcome:
    """The I/O: how it ended, and the provider's words."""
    try:
        return Outcome(Attempt.State.SENT, transport_for(message.channel, is_demo=is_demo)(message))
    except PermanentFailure as failure:
        return Outcome(Attempt.State.PERMANENT, str(failure))
    except TemporaryFailure as failure:
        state = Attempt.State.UNKNOWN if failure.perhaps_sent else Attempt.State.TEMPORARY
        return Outcome(state, str(failure), failure.retry_after)
    except Exception as error:  # a fault of ours must not keep the other contact points from being tried
        # Only its type: what an exception says may quote the message.
        logger.error("fault in the transport for %s: %s", message.channel, type(error).__name__)
        return Outcome(Attempt.State.TEMPORARY, _("Fault of our own: %s") % type(error).__name__)
