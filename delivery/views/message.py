"""One message: its envelope, its way so far like a parcel's, and for administrators what it says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import BinaryField
from django.db.models.functions import Substr
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from accounts.access import ConsoleRequest, account_required, actor, administrator_required
from accounts.models import AuditEntry, Membership
from delivery.models import Attempt, BulkActionItem, Message, MessageContent, Recipient
from delivery.reads.search import Criteria
from delivery.rules.bounces import Silence, silence
from delivery.services.downloading import content_for
from delivery.views.queue import offered

SHOWN_ATTEMPTS = 200
SHOWN_RECIPIENTS = 200
HEADER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Step:
    """One entry of the timeline."""

    at: datetime
    state: str
    title: str
    address: str = ""
    note: str = ""
    words: str = ""
    action_id: int | None = None
    message_id: int | None = None


@require_GET
@account_required
def message(request: ConsoleRequest, pk: int) -> HttpResponse:
    """The fate of one message. Support staff see its envelope and attempts, not its content."""
    found = get_object_or_404(Message.objects.select_related("report_of"), pk=pk, account=request.account)
    recipients = list(
        found.recipients.select_related("next_hop__route").order_by("pk")[: SHOWN_RECIPIENTS + 1]
    )
    administrator = request.role == Membership.Role.ADMINISTRATOR
    steps, more = _timeline(found, recipients[:SHOWN_RECIPIENTS])
    states = tuple({one.state for one in recipients})
    return render(
        request,
        "delivery/message.html",
        {
            "message_": found,
            "recipients": recipients[:SHOWN_RECIPIENTS],
            "more_recipients": len(recipients) > SHOWN_RECIPIENTS,
            "steps": steps,
            "more_steps": more,
            "header": header_text(found) if administrator else None,
            "actions": offered(Criteria(states=states)) if administrator and states else [],
        },
    )


@require_POST
@administrator_required
def download(request: ConsoleRequest, pk: int) -> HttpResponse:
    """The message as a file, byte for byte. Who took it is in the audit, hence a POST."""
    found = get_object_or_404(Message, pk=pk, account=request.account)
    data = content_for(found, actor(request))
    if data is None:
        raise Http404
    response = HttpResponse(data, content_type="message/rfc822")
    response.headers["Content-Disposition"] = f'attachment; filename="message-{found.pk}.eml"'
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _timeline(of: Message, recipients: list[Recipient]) -> tuple[list[Step], bool]:
    """What happened, the latest first; True when there were earlier attempts than are shown."""
    attempts = list(
        Attempt.objects.filter(recipient__message=of)
        .select_related("recipient")
        .order_by("-at", "-pk")[:SHOWN_ATTEMPTS]
    )
    steps = [_attempt(one) for one in attempts] + _acted(of) + _ended(of, recipients)
    steps += [_report(one) for one in of.reports.order_by("pk")[:20]]
    downloads = AuditEntry.objects.filter(
        account_id=of.account_id, subject=f"message:{of.pk}", action="message.downloaded"
    ).order_by("-number")[:20]
    steps += [Step(one.at, "", _("Downloaded"), note=one.actor_name) for one in downloads]
    if of.content_deleted_at:
        steps.append(Step(of.content_deleted_at, "", _("Content deleted after its time")))
    steps.sort(key=lambda step: step.at, reverse=True)
    return steps, len(attempts) == SHOWN_ATTEMPTS


def _attempt(one: Attempt) -> Step:
    place = _("at %(stage)s, %(ms)s ms") % {"stage": one.stage, "ms": one.duration_ms}
    return Step(
        one.at,
        one.result,
        one.get_result_display(),
        one.recipient.address,
        f"{one.host}, {place}" if one.host else place,
        f"{one.code} {one.reply}" if one.code else one.reply,
    )


def _report(one: Message) -> Step:
    titles = {Message.Report.DELAY: _("Delay warning sent"), Message.Report.RELAYED: _("Receipt sent")}
    title = titles.get(Message.Report(one.report), _("Bounce sent"))
    return Step(one.accepted_at, "deferred", title, message_id=one.pk)


def _acted(of: Message) -> list[Step]:
    """What people did to it."""
    items = BulkActionItem.objects.filter(recipient__message=of).select_related("action__route", "recipient")
    return [
        Step(
            one.at,
            one.action.state if one.action.kind in ("bounce", "reject") else "",
            _("%(action)s, by %(name)s")
            % {"action": one.action.get_kind_display(), "name": one.action.made_by},
            one.recipient.address,
            one.action.reason,
            action_id=one.action_id,
        )
        for one in items.order_by("-pk")[:100]
    ]


SILENCES = {
    Silence.NULL_SENDER: gettext_lazy("It came without a sender, as bounces do: there is nobody to tell."),
    Silence.NOT_WANTED: gettext_lazy("The sender asked not to be told (NOTIFY)."),
    Silence.NOT_AUTHENTIC: gettext_lazy("The sender was not proven: a bounce could hit somebody else."),
}


def _ended(of: Message, recipients: list[Recipient]) -> list[Step]:
    """Recipients whose end is no attempt's result, and why the sender was not told if no person said so."""
    ends = (Recipient.State.BOUNCED, Recipient.State.REJECTED)
    rejecting = BulkActionItem.objects.filter(recipient__message=of, action__kind="reject")
    by_people = set(rejecting.values_list("recipient", flat=True))
    return [
        Step(one.final_at, one.state, one.get_state_display(), one.address, _why(of, one, by_people))
        for one in recipients
        if one.state in ends and one.final_at
    ]


def _why(of: Message, one: Recipient, by_people: set[int]) -> str:
    if one.state != Recipient.State.REJECTED or one.pk in by_people:
        return ""
    reason = silence(of.sender, one.notify, of.authentic, always=False)
    return str(SILENCES[reason]) if reason else ""


def header_text(of: Message) -> str | None:
    """The header as it came, undecoded: nothing a hostile one can break. None when it was deleted.

    Reads at most 64 KiB of the message.
    """
    content = (
        MessageContent.objects.filter(message=of)
        .annotate(start=Substr("data", 1, HEADER_BYTES, output_field=BinaryField()))
        .values_list("start", flat=True)
        .first()
    )
    if content is None:
        return None
    data = bytes(content)
    ends = [place for end in (b"\r\n\r\n", b"\n\n") if (place := data.find(end)) >= 0]
    text = data[: min(ends, default=len(data))].decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\0", "�")
