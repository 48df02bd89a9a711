"""How far a notice is: its people listed in batches, copies claimed, their fate written down.

Each step is one transaction of conditional updates. A copy's progress is not a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from notifications.bulk import rules
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.bulk.people import FIELDS, addressed, with_way

STEP = 1000
CHANNELS = {"email": gettext_lazy("E-mail"), "sms": gettext_lazy("SMS")}
Copy = NoticeRecipient.State


@dataclass(frozen=True)
class Claimed:
    """A copy that is ours to send; `tries` counts this one."""

    id: int
    address: str
    tries: int
    person: int | None = None


@dataclass(frozen=True)
class Fate:
    """What became of a claimed copy. `due_at` is when one that is pending again is due."""

    copy: Claimed
    state: NoticeRecipient.State
    words: str = ""
    due_at: datetime | None = None


def list_people(notice_id: int, now: datetime) -> bool:
    """Write the copies of the next people whom a notice is for. False when there is no more to list."""
    with transaction.atomic():
        notice = Notice.objects.select_for_update(no_key=True).get(pk=notice_id)
        if notice.state != Notice.State.RUNNING or notice.listed:
            return False
        people = with_way(addressed(notice), notice.order).filter(pk__gt=notice.listed_upto)
        rows = people.order_by("pk").values_list("pk", "name", "way", *FIELDS.values())[:STEP]
        found = [
            (pk, name, way, dict(zip(FIELDS, addresses, strict=True))) for pk, name, way, *addresses in rows
        ]
        NoticeRecipient.objects.bulk_create(
            NoticeRecipient(
                notice_id=notice_id,
                person_id=pk,
                name=name,
                channel=way,
                address=addresses.get(way, ""),
                state=Copy.PENDING if way else Copy.UNREACHABLE,
                due_at=now,
            )
            for pk, name, way, addresses in found
        )
        if found:
            notice.listed_upto = found[-1][0]
        notice.listed, notice.beat_at = len(found) < STEP, now
        notice.save(update_fields=["listed_upto", "listed", "beat_at"])
    return not notice.listed


def claim(notice_id: int, channel: str, token: str, room: int, now: datetime) -> list[Claimed]:
    """Take up to `room` copies that are due. None of a notice that is not running any more."""
    with transaction.atomic(savepoint=False):
        if not Notice.objects.filter(pk=notice_id, state=Notice.State.RUNNING).exists():
            return []
        due = NoticeRecipient.objects.due(notice_id, now).filter(channel=channel)
        if connection.features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True, no_key=True)
        found = [Claimed(*row) for row in due.values_list("pk", "address", F("tries") + 1, "person")[:room]]
        NoticeRecipient.objects.filter(pk__in=[copy.id for copy in found], state=Copy.PENDING).update(
            state=Copy.SENDING, claim=token, claimed_at=now, tries=F("tries") + 1
        )
    return found


def settle(notice_id: int, token: str, fates: Sequence[Fate], now: datetime) -> int:
    """Write down what became of copies claimed with `token`, also of those given up as unknown meanwhile.

    A copy that failed for good goes on by the next channel of the notice, if its person has an address for
    it. Returns how many do.
    """
    cancelled, further = False, {}
    with transaction.atomic(savepoint=False):
        if any(fate.state in (Copy.PENDING, Copy.FAILED) for fate in fates):
            # Locked, so that a cancellation finds every copy that is pending, or we find the cancellation.
            notice = Notice.objects.select_for_update(no_key=True).get(pk=notice_id)
            cancelled = notice.state == Notice.State.CANCELLED
            if notice.state in (Notice.State.RUNNING, Notice.State.PAUSED):
                further = _further(notice, token, fates, now)
        rows = [_row(fate, token, now, cancelled=cancelled) for fate in fates if fate.copy.id not in further]
        with connection.cursor() as cursor:
            cursor.executemany(_SETTLE, rows)
            cursor.executemany(_GO_ON, list(further.values()))
    return len(further)


def _further(notice: Notice, token: str, fates: Sequence[Fate], now: datetime) -> dict[int, tuple[Any, ...]]:
    """Of the copies that failed those that go on by a later channel: what is written of each."""
    words = {fate.copy.id: fate.words for fate in fates if fate.state == Copy.FAILED}
    usable = [one for one in notice.order if one != "sms" or notice.sms_text.strip()]
    if not words or len(notice.order) < 2:
        return {}
    now_due = connection.ops.adapt_datetimefield_value(now)
    found = {}
    copies = NoticeRecipient.objects.filter(pk__in=words, claim=token, person__isnull=False)
    for copy in copies.select_related("person"):
        later = [one for one in usable if notice.order.index(one) > notice.order.index(copy.channel)]
        channel = next((one for one in later if getattr(copy.person, FIELDS[one])), "")
        if channel:
            address = getattr(copy.person, FIELDS[channel])
            failed = f"{CHANNELS[copy.channel]}, {copy.address}: {words[copy.pk]}"
            found[copy.pk] = (channel, address, failed, now_due, copy.pk, token)
    return found


def _row(fate: Fate, token: str, now: datetime, *, cancelled: bool) -> tuple[Any, ...]:
    pending = fate.state == Copy.PENDING
    state = Copy.CANCELLED if pending and cancelled else fate.state
    ended = None if state == Copy.PENDING else now
    # A copy that nobody tried to hand over has no try behind it.
    tries = fate.copy.tries - (1 if pending and not fate.words else 0)
    adapt = connection.ops.adapt_datetimefield_value
    due_at = fate.due_at or now
    return state, fate.words, ended and adapt(ended), adapt(due_at), tries, fate.copy.id, token


_SETTLE = (
    f"UPDATE {NoticeRecipient._meta.db_table}"  # noqa: S608  (our own table)
    " SET state = %s, words = %s, ended_at = %s, due_at = %s, tries = %s"
    " WHERE id = %s AND claim = %s AND state IN ('sending', 'unknown')"
)
_GO_ON = (
    f"UPDATE {NoticeRecipient._meta.db_table}"  # noqa: S608  (our own table)
    " SET state = 'pending', channel = %s, address = %s, earlier = %s, words = '', tries = 0,"
    " ended_at = NULL, due_at = %s"
    " WHERE id = %s AND claim = %s AND state IN ('sending', 'unknown')"
)


def renew(notice_id: int, token: str, now: datetime) -> None:
    """Show a sign of life for a notice and the copies claimed with `token`."""
    NoticeRecipient.objects.filter(notice=notice_id, state=Copy.SENDING, claim=token).update(claimed_at=now)
    beat(notice_id, now)


def beat(notice_id: int, now: datetime) -> None:
    """Somebody works at this notice."""
    Notice.objects.filter(pk=notice_id).update(beat_at=now)


def rest(notice_id: int) -> None:
    """Nobody works at this notice: the next sweep is to go on with it."""
    Notice.objects.filter(pk=notice_id).update(beat_at=None)


def give_up_stuck(now: datetime) -> int:
    """Copies whose sender is gone have perhaps been sent. Returns how many."""
    return NoticeRecipient.objects.stuck(now).update(
        state=Copy.UNKNOWN,
        ended_at=now,
        words=_("The gateway stopped while sending; it may have arrived."),
    )


def away(notice_id: int, words: str, now: datetime) -> None:
    """Nothing could be handed over: the notice waits, longer each time in a row."""
    with transaction.atomic():
        notice = Notice.objects.select_for_update(no_key=True).get(pk=notice_id)
        notice.away_times += 1
        notice.away_until = now + rules.wait_of_notice(notice.away_times)
        notice.away_words = words
        notice.save(update_fields=["away_times", "away_until", "away_words"])


def back(notice_id: int) -> None:
    """Something was handed over."""
    gone = Notice.objects.filter(pk=notice_id, away_times__gt=0)
    gone.update(away_times=0, away_until=None, away_words="")
