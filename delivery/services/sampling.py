"""A picture of the queue, a point a minute, taken only while something waits."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from delivery.models import NextHop, Pause, QueueSample, Recipient

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=90)
LATE = timedelta(minutes=1)  # mail that waits for so long waits for something


def sample(now: datetime) -> int:
    """Note the queue of each account in which something waits; returns for how many. At most once a minute.

    One point more is noted when nothing waits any longer, so that the line comes down to the end.
    """
    minute = now.replace(second=0, microsecond=0)
    accounts = _accounts(now, minute)
    if not accounts:
        return 0
    free = disk_free()
    queued = _counted(Recipient.objects.waiting().filter(next_hop__route__account__in=accounts))
    delivered = _counted(
        Recipient.objects.filter(
            next_hop__in=NextHop.objects.filter(route__account__in=accounts).values("pk"),
            state=Recipient.State.DELIVERED,
            final_at__gt=minute - MINUTE,
            final_at__lte=minute,
        )
    )
    QueueSample.objects.bulk_create(
        (
            QueueSample(
                account_id=account_id,
                at=minute,
                queued=queued.get(account_id, 0),
                delivered=delivered.get(account_id, 0),
                disk_free=free,
            )
            for account_id in sorted(accounts)
        ),
        ignore_conflicts=True,
    )
    if minute.minute == 0:
        QueueSample.objects.filter(at__lt=now - KEPT).delete()
    return len(accounts)


def _accounts(now: datetime, minute: datetime) -> set[int]:
    """Those to be noted at this minute, without those that are."""
    late = Recipient.objects.waiting().filter(next_hop=OuterRef("pk"), accepted_at__lt=now - LATE)
    waiting = Recipient.objects.waiting().filter(next_hop=OuterRef("pk"))
    troubled = NextHop.objects.filter(Exists(late) | ~Q(state=NextHop.State.UP) & Exists(waiting))
    accounts = set(troubled.values_list("route__account", flat=True))
    accounts |= set(Pause.objects.filter(ended_at=None).values_list("account", flat=True))
    recent = QueueSample.objects.filter(at__gte=minute - 3 * MINUTE).order_by("at")
    last = {one.account_id: one for one in recent}
    accounts |= {account_id for account_id, one in last.items() if one.queued or one.delivered}
    return {account_id for account_id in accounts if account_id not in last or last[account_id].at < minute}


def _counted(rows: QuerySet[Recipient]) -> dict[int, int]:
    by_account = rows.values_list("next_hop__route__account").annotate(number=Count("pk"))
    return dict(by_account.order_by())


def disk_free() -> int | None:
    """Bytes free for the database; None when it is on another machine."""
    host = str(settings.DATABASES["default"].get("HOST") or "")
    here = (
        connection.vendor == "sqlite"
        or not host
        or host.startswith("/")
        or host in ("localhost", "127.0.0.1")
    )
    return shutil.disk_usage(settings.DATA_DIR).free if here else None
