"""Telling senders who asked (NOTIFY=SUCCESS) that their message went to a server that tells them nothing.

Where the mail server offers DSN, the request is passed on to it and the rest is its part (RFC 3461 5.2.2).
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from delivery.models import Message, Recipient
from delivery.services import reports
from delivery.services.reports import Batch

AT_ONCE = 50  # messages a transaction


def relay_due(now: datetime) -> tuple[int, int]:
    """One batch: how many recipients, how many reports. One index probe when there is nothing.

    A report for which there is no route, or which our own code cannot make, is not made up for later: the
    message has arrived.
    """
    due = Recipient.objects.filter(relay_due=True)
    candidates = list(dict.fromkeys(due.order_by("pk").values_list("message_id", flat=True)[:AT_ONCE]))
    if not candidates:
        return 0, 0
    with transaction.atomic():
        messages = Message.objects.filter(pk__in=candidates).order_by("pk")
        if connection.features.has_select_for_update_skip_locked:
            messages = messages.select_for_update(skip_locked=True, no_key=True, of=("self",))
        locked = {message.pk: message for message in messages}
        recipients = list(due.filter(message_id__in=locked).select_related("next_hop__route").order_by("pk"))
        Recipient.objects.filter(pk__in=[one.pk for one in recipients]).update(relay_due=False)
        batch = Batch.load(locked, recipients, now)
        about: dict[int, list[Recipient]] = {}
        for recipient in recipients:
            if batch.may_be_told(recipient):
                about.setdefault(recipient.message_id, []).append(recipient)
        ways = batch.ways(about)
        about = {message_id: some for message_id, some in about.items() if message_id in ways}
        failed = reports.write(batch, about, ways, Message.Report.RELAYED)
        return len(recipients), len(about) - len(failed)
