"""What an account's pages list, row by row: the parts of `pages.make_world`."""

from __future__ import annotations

from datetime import datetime, timedelta

from accounts.models import Account, Contact, Group, MailDomain, Person
from accounts.people.models import PersonImport
from delivery.models import (
    Attempt,
    BulkAction,
    BulkActionItem,
    KnownRecipient,
    Message,
    MessageContent,
    NextHop,
    Recipient,
    RecipientImport,
    Route,
    RouteTest,
)
from events.models import AlertStream, Checklist, ChecklistItem, ContinuityEvent, SupportCall
from monitoring.models import Monitor, Outage, Window
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.models import Attempt as AlertAttempt
from notifications.models import Notification, Suspension

SECRET = b"the body that support staff must not read"


def add_message(account: Account, hop: NextHop, n: int, now: datetime) -> Message:
    at = now - timedelta(minutes=n)
    message = Message.objects.create(
        account=account,
        accepted_at=at,
        sender="sender@partner.example",
        size=1234,
        client_address="192.0.2.1",
        helo="mx.partner.example",
        message_id=f"<{n}@{account.slug}.example>",
        subject=f"{account.slug} subject {n}",
    )
    header = f"Subject: {account.slug} header {n}\r\n\r\n".encode()
    MessageContent.objects.create(message=message, data=header + SECRET)
    recipient = Recipient.objects.create(
        message=message,
        next_hop=hop,
        address=f"user{n}@{account.slug}.example",
        accepted_at=at,
        next_attempt_at=now,
        expires_at=at + timedelta(hours=96),
    )
    Attempt.objects.create(
        recipient=recipient,
        next_hop=hop,
        at=at,
        duration_ms=5,
        result="host_failure",
        stage="connect",
        reply=f"{account.slug} refused the connection",
    )
    action = BulkAction.objects.create(
        account=account,
        kind="retry",
        state="done",
        criteria={"ids": [recipient.pk]},
        reason=f"{account.slug} asked for it",
        made_at=at,
        made_by="Maria",
        beat_at=at,
        ended_at=at,
        done=1,
        seen=1,
        total=1,
    )
    BulkActionItem.objects.create(action=action, recipient=recipient, at=at)
    return message


def add_route_test(route: Route, now: datetime) -> RouteTest:
    steps = [
        {
            "host": "mail.example:25",
            "stage": "dns",
            "result": "ok",
            "ms": 3,
            "facts": {"addresses": ["192.0.2.9"]},
        },
        {"host": "mail.example:25", "stage": "tcp", "result": "failed", "ms": 9, "problem": "refused"},
    ]
    return RouteTest.objects.create(
        route=route,
        asked_at=now,
        asked_by=f"{route.account.slug} Maria",
        recipient=f"postmaster@{route.account.slug}.example",
        until=now,
        state="done",
        result="failed",
        steps=steps,
    )


def add_import(domain: MailDomain, n: int, now: datetime) -> RecipientImport:
    KnownRecipient.objects.create(domain=domain, address=f"user{n}@{domain.name}", source="imported")
    shown = [[2, f"ghost@elsewhere.{domain.name}", "other_domain"]]
    return RecipientImport.objects.create(
        domain=domain,
        made_at=now,
        made_by=f"{domain.account.slug} Maria",
        file_name="list.csv",
        until=now + timedelta(hours=1),
        facts={"lines": 2, "duplicates": 0, "new": 1, "known": 0, "gone": 1, "shown": shown},
        addresses=f"new@{domain.name}",
        total=1,
    )


def add_people_import(account: Account, n: int, now: datetime) -> None:
    wrong = [n + 2, f"{account.slug} nobody", "This is not an e-mail address."]
    change = [3, f"person{n}@{account.slug}.example", "changed", [["phone", "", "+491701234567"]]]
    counts = dict.fromkeys(("new", "changed", "unchanged", "repeated", "errors", "unverified", "missing"), 1)
    PersonImport.objects.create(
        account=account,
        state="preview",
        made_at=now,
        made_by=f"{account.slug} Maria",
        file_name=f"{account.slug} people.csv",
        until=now + timedelta(hours=1),
        facts=counts | {"shown_errors": [wrong], "shown_changes": [change], "new_groups": ["Berlin"]},
        total=3,
    )


def add_notice(account: Account, n: int, now: datetime) -> None:
    people = [
        Person.objects.create(
            account=account,
            name=f"{account.slug} person {n}.{way}",
            address=f"person{n}{way}@{account.slug}.example",
            alternate_address=f"{account.slug}{n}@elsewhere.example" if way == "email" else "",
            phone=f"+49151{n:08}" if way == "sms" else "",
        )
        for way in ("email", "sms", "none")
    ]
    group = Group.objects.create(account=account, name=f"{account.slug} group {n}")
    group.people.set(people)
    for state in ("done", "draft"):
        notice = Notice.objects.create(
            account=account,
            subject=f"{account.slug} notice {n}",
            text=f"{account.slug} says: use the web.",
            sms_text="Use the web.",
            state=state,
            listed=state == "done",
            made_at=now,
            made_by="Maria",
            started_at=now if state == "done" else None,
            ended_at=now if state == "done" else None,
        )
        notice.groups.set(account.groups.all())
        if state == "done":
            for person, fate in zip(people, ("sent", "failed", "unreachable"), strict=True):
                NoticeRecipient.objects.create(
                    notice=notice,
                    person=person,
                    name=person.name,
                    state=fate,
                    due_at=now,
                    words="550 5.1.1 no",
                )


def add_event(account: Account, n: int, now: datetime) -> ContinuityEvent:
    begin = now - timedelta(minutes=10) - timedelta(days=n)
    return ContinuityEvent.objects.create(
        account=account,
        title=f"{account.slug} event {n}",
        state="ended" if n else "active",
        starts_at=begin,
        ends_at=begin + timedelta(hours=1),
        ended_at=begin + timedelta(hours=1) if n else None,
        ended="stopped" if n else "",
        began="console",
        began_by="Maria",
    )


def add_checklist(account: Account, event: ContinuityEvent, n: int, now: datetime) -> None:
    """Of an event that was over a month ago: nothing of it is done, and it has an open call."""
    over = now - timedelta(days=30 + n)
    ended = ContinuityEvent.objects.create(
        account=account,
        title=f"{account.slug} event over {n}",
        state="ended",
        starts_at=over - timedelta(hours=1),
        ends_at=over,
        ended_at=over,
        ended="stopped",
        began="console",
        began_by="Maria",
    )
    checklist = Checklist.objects.create(account=account, event=ended, opened_at=over, looked_at=over)
    ChecklistItem.objects.bulk_create(
        ChecklistItem(checklist=checklist, kind=kind) for kind in ChecklistItem.Kind.values
    )
    for one in (ended, event):
        SupportCall.objects.create(
            account=account,
            event=one,
            name=f"{account.slug} caller {n}",
            what="No mail since nine",
            logged_at=now,
            logged_by="Sam",
        )


def add_outage(monitor: Monitor, contact: Contact, n: int, now: datetime) -> None:
    begin = now - timedelta(minutes=20)
    Window.objects.create(
        monitor=monitor, start=begin, end=begin + timedelta(minutes=2), verdict="failure", counter=1, step=1
    )
    outage = Outage.objects.create(
        account=monitor.account, monitor=monitor, failing_since=begin, opened_at=begin, reply="421 gone"
    )
    AlertStream.objects.create(outage=outage, contact=contact, next_at=now, slot=1, last_at=begin)
    alert = Notification.objects.create(
        account=monitor.account,
        contact=contact,
        kind="outage",
        dedupe_key=f"{outage.pk}:{n}",
        created_at=begin,
        due_at=begin,
        state="sent",
    )
    AlertAttempt.objects.create(
        notification=alert,
        point=contact.points.first(),
        channel="sms",
        started_at=begin,
        state="sent",
        provider_reply=f"queued for {contact.name}",
    )
    Suspension.objects.create(
        account=monitor.account, contact=contact, made_at=now, made_by="Maria", until=now + timedelta(hours=1)
    )
