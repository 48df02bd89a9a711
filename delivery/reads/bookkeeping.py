"""Facts that contradict each other: each check can fail, whatever the sums say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _
from django_stubs_ext import StrPromise

from delivery.models import Attempt, Message, MessageContent, Recipient

EXAMPLES = 20
_STATE, _RESULT = Recipient.State, Attempt.Result


@dataclass(frozen=True)
class Problem:
    """What does not agree, how often, and the first of them, such as `recipient 12`."""

    what: StrPromise
    number: int
    examples: tuple[str, ...]


def problems(recipients: Q, messages: Q) -> tuple[Problem, ...]:
    """Everything that contradicts something else in the scope."""
    rows = Recipient.objects.order_by().filter(recipients)
    checks = _recipient_checks()
    wrong = Q()
    for _what, check in checks:
        wrong |= check
    # One pass over all; which of the checks it was is asked only where one failed.
    found = []
    if rows.filter(wrong).values("pk")[:1]:
        found += [_problem(what, "recipient", rows.filter(check)) for what, check in checks]
    mail = Message.objects.order_by().filter(messages)
    found += [_problem(what, "message", mail.filter(check)) for what, check in _message_checks()]
    return tuple(problem for problem in found if problem)


def duplicates(recipients: Q) -> Problem | None:
    """Recipients that the mail server took the same message for more than once."""
    taken = Recipient.objects.order_by().filter(recipients, attempt_log__result=_RESULT.DELIVERED)
    rows = taken.values("pk").annotate(number=Count("attempt_log")).filter(number__gt=1)
    return _problem(_("delivered more than once"), "recipient", rows)


def repeated_message_ids(messages: Q) -> int:
    """How many Message-IDs were accepted more than once: by mailing lists, repeats of senders, or us."""
    ids = Message.objects.filter(messages).exclude(message_id="").values("message_id").order_by()
    return ids.annotate(number=Count("pk")).filter(number__gt=1).count()


def _recipient_checks() -> list[tuple[StrPromise, Q]]:
    final, waiting = Q(state__in=Recipient.FINAL), Q(state__in=Recipient.WAITING)
    sending, delivered = Q(state=_STATE.SENDING), Q(state=_STATE.DELIVERED)
    content = Q(Exists(MessageContent.objects.filter(pk=OuterRef("message_id"))))
    taken = Q(Exists(_attempts(result=_RESULT.DELIVERED)))
    tried = _attempts(result__in=(_RESULT.DELIVERED, _RESULT.DEFERRED, _RESULT.REFUSED))
    number = tried.order_by().values("recipient").annotate(number=Count("pk")).values("number")
    report = Message.objects.filter(
        report_of=OuterRef("message"), report=Message.Report.FAILURE, accepted_at=OuterRef("final_at")
    )
    # Most were tried once, and whether that attempt is there another check has asked.
    tried_more = Q(attempts__gt=1) | (Q(attempts=1) & ~delivered)
    return [
        (_("waits, but its content is gone"), waiting & ~content),
        (_("delivered, but no attempt says so"), delivered & ~taken),
        (_("an attempt delivered it, but its state is another"), ~delivered & taken),
        # A bounce and its report are one transaction, and have one instant. Silent ends are rejections.
        (_("bounced, but no report to its sender was written"), Q(state=_STATE.BOUNCED) & ~Q(Exists(report))),
        (_("final, but without the time of it"), final & Q(final_at=None)),
        (_("has a final time, but still waits"), waiting & Q(final_at__isnull=False)),
        (_("being sent, but by nobody"), sending & (Q(claimed_by="") | Q(claimed_at=None))),
        (_("claimed, but not being sent"), ~sending & Q(claimed_by__gt="")),
        (_("its state does not exist"), ~Q(state__in=_STATE.values)),
        (
            _("more attempts are counted than were written down"),
            tried_more & Q(attempts__gt=Coalesce(Subquery(number), 0)),
        ),
    ]


def _message_checks() -> list[tuple[StrPromise, Q]]:
    recipients = Recipient.objects.filter(message=OuterRef("pk"))
    number = recipients.order_by().values("message").annotate(number=Count("pk")).values("number")
    others = recipients.exclude(next_hop__route__account=OuterRef("account"))
    content = Q(Exists(MessageContent.objects.filter(pk=OuterRef("pk"))))
    return [
        (_("has no recipients"), ~Q(Exists(recipients))),
        (
            _("has not as many recipients as were accepted"),
            Q(Exists(recipients), taken__isnull=False) & ~Q(taken=Coalesce(Subquery(number), 0)),
        ),
        (
            _("its content is gone, though it was not deleted when its time was over"),
            Q(content_deleted_at=None) & ~content,
        ),
        (_("goes over a route of another account"), Q(Exists(others))),
    ]


def _attempts(**which: object) -> QuerySet[Attempt]:
    return Attempt.objects.filter(recipient=OuterRef("pk"), **which)


def _problem(what: StrPromise, noun: str, rows: QuerySet[Any]) -> Problem | None:
    some = list(rows.values_list("pk", flat=True)[: EXAMPLES + 1])
    if not some:
        return None
    number = len(some) if len(some) <= EXAMPLES else rows.count()
    return Problem(what, number, tuple(f"{noun} {pk}" for pk in sorted(some)[:EXAMPLES]))
