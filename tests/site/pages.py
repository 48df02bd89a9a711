"""An account with something on every page, and users in every role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.test import Client

from accounts.models import Account, Contact, Group, MailDomain, Membership, Person, User
from accounts.people.models import PersonImport
from accounts.services import Actor, decision
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
    RouteHost,
    RouteTest,
)
from events.models import AlertStream, Checklist, ChecklistItem, ContinuityEvent, SupportCall
from monitoring.models import Monitor, Outage, Window
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.models import Attempt as AlertAttempt
from notifications.models import ContactPoint, DemoMessage, Notification, Suspension

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
SECRET = b"the body that support staff must not read"


@dataclass
class World:
    """One account, with the primary keys its pages need."""

    account: Account
    message: Message
    event: ContinuityEvent
    monitor: Monitor
    contact: Contact
    route: Route
    test: RouteTest
    list: RecipientImport
    domain: MailDomain
    letter: DemoMessage

    @property
    def bulk(self) -> BulkAction:
        """The latest of what was done to mail in the queue."""
        return BulkAction.objects.filter(account=self.account).latest("pk")

    @property
    def notice(self) -> Notice:
        """The latest notice that was sent."""
        return Notice.objects.filter(account=self.account, state="done").latest("pk")

    @property
    def draft(self) -> Notice:
        """The latest draft of a notice."""
        return Notice.objects.filter(account=self.account, state="draft").latest("pk")

    @property
    def active(self) -> ContinuityEvent:
        """The event that is active."""
        return ContinuityEvent.objects.filter(account=self.account).earliest("pk")

    @property
    def checklist(self) -> Checklist:
        """The latest checklist of an event that ended."""
        return Checklist.objects.filter(account=self.account).latest("pk")

    def addresses(self) -> dict[str, str]:
        """Every page of the account by name; those of `WRITING` are for administrators."""
        return {
            "dashboard": "/",
            "queue": "/queue/",
            "waiting": "/queue/?state=waiting",
            "message": f"/queue/{self.message.pk}/",
            "bulk-actions": "/queue/actions/",
            "bulk-action": f"/queue/actions/{self.bulk.pk}/",
            "queue-act": f"/queue/act/?action=hold&r={self.message.recipients.get().pk}",
            "events": "/events/",
            "history": "/history/?topic=event",
            "event-report": f"/events/{self.event.pk}/report/",
            "event": f"/events/{self.event.pk}/",
            "during": f"/events/{self.active.pk}/during/",
            "checklist": f"/events/{self.checklist.event_id}/checklist/",
            "calls": "/events/calls/",
            "monitors": "/monitors/",
            "monitor": f"/monitors/{self.monitor.pk}/",
            "monitor-test": f"/monitors/{self.monitor.pk}/test/",
            "contacts": "/contacts/",
            "alerts-history": "/contacts/alerts/",
            "settings": "/settings/",
            "texts": "/settings/texts/",
            "zone": "/settings/zone/",
            "route-test": f"/settings/routes/{self.route.pk}/test/",
            "route-test-result": f"/settings/routes/{self.route.pk}/test/{self.test.pk}/",
            "recipients": f"/settings/domains/{self.domain.pk}/recipients/",
            "recipients-import": f"/settings/domains/{self.domain.pk}/recipients/import/{self.list.pk}/",
            "people": "/people/",
            "notices": "/notices/",
            "notice": f"/notices/{self.notice.pk}/",
            "notice-people": f"/notices/{self.notice.pk}/people/",
            "notice-draft": f"/notices/{self.draft.pk}/",
            "notice-draft-people": f"/notices/{self.draft.pk}/people/",
            "readiness": "/readiness/",
            "demo": "/demo/",
            "letter": f"/demo/letter/{self.letter.pk}/",
            **WRITING,
            "monitor-edit": f"/monitors/{self.monitor.pk}/edit/",
            "contact": f"/contacts/{self.contact.pk}/",
            "monitor-steps": f"/monitors/{self.monitor.pk}/steps/",
            "contact-edit": f"/contacts/{self.contact.pk}/edit/",
            "notice-edit": f"/notices/{self.draft.pk}/edit/",
            "person": f"/people/{self.account.people.latest('pk').pk}/",
            "group": f"/people/groups/{self.account.groups.latest('pk').pk}/",
            "people-import": f"/people/import/{self.account.person_imports.latest('pk').pk}/",
            "route": f"/settings/route/{self.route.pk}/",
            "domain": f"/settings/domain/{self.domain.pk}/",
        }


WRITING = {
    "monitor-add": "/monitors/add/",
    "contact-add": "/contacts/add/",
    "notice-add": "/notices/add/",
    "account": "/settings/account/",
    "delivery": "/settings/delivery/",
    "alerts": "/settings/alerts/",
    "domain-add": "/settings/domain/",
    "route-add": "/settings/route/",
    "text": "/settings/texts/outage/de/",
    "person-add": "/people/add/",
    "group-add": "/people/groups/add/",
    "people-imports": "/people/import/",
    "api-tokens": "/settings/tokens/",
}
FOR_ADMINISTRATORS = {
    *WRITING,
    "queue-act",
    "monitor-edit",
    "monitor-steps",
    "contact-edit",
    "notice-edit",
    "person",
    "group",
    "people-import",
    "route",
    "domain",
}
OF_ROWS = {
    "recipients",
    "recipients-import",
    "route-test",
    "route-test-result",
    "message",
    "bulk-action",
    "event",
    "during",
    "checklist",
    "event-report",
    "monitor",
    "letter",
    "monitor-edit",
    "monitor-test",
    "monitor-steps",
    "contact",
    "contact-edit",
    "notice",
    "notice-people",
    "notice-draft",
    "notice-draft-people",
    "notice-edit",
    "person",
    "group",
    "people-import",
    "route",
    "domain",
}


def make_user(
    name: str, account: Account | None, role: Membership.Role | None, password: str | None = None
) -> User:
    """A user of the account; without a password only `force_login` lets them in."""
    user = User.objects.create_user(name, first_name=name.title(), time_zone="Europe/Berlin")
    if password:
        user.set_password(password)
        user.save()
    if account and role:
        Membership.objects.create(user=user, account=account, role=role)
    return user


def signed_in(world: World, role: Membership.Role = Membership.Role.ADMINISTRATOR, name: str = "") -> Client:
    """The browser of somebody with that role in the account."""
    client = Client()
    client.force_login(make_user(name or f"{role}-{world.account.slug}", world.account, role))
    return client


def make_world(slug: str, *, rows: int = 1, demo: bool = True) -> World:
    """An account whose every page shows `rows` of what it lists."""
    account = Account.objects.create(name=slug.title(), slug=slug, time_zone="Europe/Berlin", is_demo=demo)
    list_ = test = route = hop = domain = contact = monitor = message = event = letter = None
    for n in range(rows):
        domain = MailDomain.objects.create(account=account, name=f"{slug}{n}.example")
        route = Route.objects.create(account=account, name=f"Server {n}")
        RouteHost.objects.create(route=route, hostname=f"mail{n}.{slug}.example")
        test = _route_test(route)
        list_ = _import(domain, n)
        _people_import(account, n)
        hop = NextHop.objects.create(route=route, state="down", state_since=NOW, last_reply="421 gone")
        contact = Contact.objects.create(account=account, name=f"{slug} contact {n}")
        ContactPoint.objects.create(
            contact=contact, channel="sms", address=f"+1202555{n:04}", verified_at=NOW
        )
        monitor = Monitor.objects.create(
            account=account, description=f"{slug} monitor {n}", route=route, judged_until=NOW
        )
        monitor.contacts.add(contact)
        message = _message(account, hop, n)
        event = _event(account, n)
        _checklist(account, event, n)
        _notice(account, n)
        _outage(monitor, contact, n)
        letter = DemoMessage.objects.create(
            account=account, at=NOW, channel="email", to="a@b.example", text="hello", html="<p>hello</p>"
        )
        with decision(account.pk, Actor.contact(contact), now=NOW - timedelta(minutes=5)) as decided:
            decided.record("event.activated", subject=f"event:{event.pk}")
    assert route
    assert test
    assert list_
    assert domain
    assert contact
    assert monitor
    assert message
    assert event
    assert letter
    return World(account, message, event, monitor, contact, route, test, list_, domain, letter)


def _message(account: Account, hop: NextHop, n: int) -> Message:
    at = NOW - timedelta(minutes=n)
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
        next_attempt_at=NOW,
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


def _route_test(route: Route) -> RouteTest:
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
        asked_at=NOW,
        asked_by=f"{route.account.slug} Maria",
        recipient=f"postmaster@{route.account.slug}.example",
        until=NOW,
        state="done",
        result="failed",
        steps=steps,
    )


def _import(domain: MailDomain, n: int) -> RecipientImport:
    KnownRecipient.objects.create(domain=domain, address=f"user{n}@{domain.name}", source="imported")
    shown = [[2, f"ghost@elsewhere.{domain.name}", "other_domain"]]
    return RecipientImport.objects.create(
        domain=domain,
        made_at=NOW,
        made_by=f"{domain.account.slug} Maria",
        file_name="list.csv",
        until=NOW + timedelta(hours=1),
        facts={"lines": 2, "duplicates": 0, "new": 1, "known": 0, "gone": 1, "shown": shown},
        addresses=f"new@{domain.name}",
        total=1,
    )


def _people_import(account: Account, n: int) -> None:
    wrong = [n + 2, f"{account.slug} nobody", "This is not an e-mail address."]
    change = [3, f"person{n}@{account.slug}.example", "changed", [["phone", "", "+491701234567"]]]
    counts = dict.fromkeys(("new", "changed", "unchanged", "repeated", "errors", "unverified", "missing"), 1)
    PersonImport.objects.create(
        account=account,
        state="preview",
        made_at=NOW,
        made_by=f"{account.slug} Maria",
        file_name=f"{account.slug} people.csv",
        until=NOW + timedelta(hours=1),
        facts=counts | {"shown_errors": [wrong], "shown_changes": [change], "new_groups": ["Berlin"]},
        total=3,
    )


def _notice(account: Account, n: int) -> None:
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
            made_at=NOW,
            made_by="Maria",
            started_at=NOW if state == "done" else None,
            ended_at=NOW if state == "done" else None,
        )
        notice.groups.set(account.groups.all())
        if state == "done":
            for person, fate in zip(people, ("sent", "failed", "unreachable"), strict=True):
                NoticeRecipient.objects.create(
                    notice=notice,
                    person=person,
                    name=person.name,
                    state=fate,
                    due_at=NOW,
                    words="550 5.1.1 no",
                )


def _event(account: Account, n: int) -> ContinuityEvent:
    begin = NOW - timedelta(minutes=10) - timedelta(days=n)
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


def _checklist(account: Account, event: ContinuityEvent, n: int) -> None:
    """Of an event that was over a month ago: nothing of it is done, and it has an open call."""
    over = NOW - timedelta(days=30 + n)
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
            logged_at=NOW,
            logged_by="Sam",
        )


def _outage(monitor: Monitor, contact: Contact, n: int) -> None:
    begin = NOW - timedelta(minutes=20)
    Window.objects.create(
        monitor=monitor, start=begin, end=begin + timedelta(minutes=2), verdict="failure", counter=1, step=1
    )
    outage = Outage.objects.create(
        account=monitor.account, monitor=monitor, failing_since=begin, opened_at=begin, reply="421 gone"
    )
    AlertStream.objects.create(outage=outage, contact=contact, next_at=NOW, slot=1, last_at=begin)
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
        account=monitor.account, contact=contact, made_at=NOW, made_by="Maria", until=NOW + timedelta(hours=1)
    )
