"""An account with something on every page, and users in every role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.test import Client

from accounts.models import Account, Contact, MailDomain, Membership, User
from accounts.services import Actor, decision
from delivery.models import (
    BulkAction,
    Message,
    NextHop,
    RecipientImport,
    Route,
    RouteHost,
    RouteTest,
)
from events.models import Checklist, ContinuityEvent
from monitoring.models import Monitor
from notifications.bulk.models import Notice
from notifications.models import ContactPoint, DemoMessage
from tests.site.rows import (
    add_checklist,
    add_event,
    add_import,
    add_message,
    add_notice,
    add_outage,
    add_people_import,
    add_route_test,
)

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


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
        test = add_route_test(route, NOW)
        list_ = add_import(domain, n, NOW)
        add_people_import(account, n, NOW)
        hop = NextHop.objects.create(route=route, state="down", state_since=NOW, last_reply="421 gone")
        contact = Contact.objects.create(account=account, name=f"{slug} contact {n}")
        ContactPoint.objects.create(
            contact=contact, channel="sms", address=f"+1202555{n:04}", verified_at=NOW
        )
        monitor = Monitor.objects.create(
            account=account, description=f"{slug} monitor {n}", route=route, judged_until=NOW
        )
        monitor.contacts.add(contact)
        message = add_message(account, hop, n, NOW)
        event = add_event(account, n, NOW)
        add_checklist(account, event, n, NOW)
        add_notice(account, n, NOW)
        add_outage(monitor, contact, n, NOW)
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
