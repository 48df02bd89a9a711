"""The demo account: a small organisation whose mail server may be broken, so that the story can be seen."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import Account, Contact, Group, MailDomain, Membership, Person, User
from delivery.models import DeliverySettings, Route, RouteHost
from delivery.services import ensure_next_hop
from events.models import AlertSettings
from monitoring.models import Monitor
from notifications.models import ContactPoint

DOMAIN = "example.test"  # RFC 6761: never a real one
PEOPLE = (
    ("Anna Albers", "anna"),
    ("Ben Okafor", "ben"),
    ("Clara Nowak", "clara"),
    ("David Kim", "david"),
    ("Elena Rossi", "elena"),
    ("Farid Haddad", "farid"),
    ("Grace Lindqvist", "grace"),
    ("Hugo Martin", "hugo"),
    ("Maria Silva", "maria"),
    ("Tom Becker", "tom"),
)
GROUPS = ("Sales", "Workshop")
# Out of band: never in the account's own domain. 555-01xx numbers are kept for fiction.
CONTACTS = (
    (
        "Maria Silva",
        "Europe/Lisbon",
        ((ContactPoint.Channel.EMAIL, "maria@phone.example.net"), (ContactPoint.Channel.SMS, "+12025550143")),
    ),
    ("Tom Becker", "Europe/Berlin", ((ContactPoint.Channel.SMS, "+12025550178"),)),
)
ADMINISTRATOR, SUPPORT = "demo", "support"
WINDOW_SECONDS = 10  # instead of 2 minutes, and canaries scaled alike
CANARY_FIRST_SECONDS, CANARY_MAX_SECONDS = 2.5, 10
MAX_CONNECTIONS = 4  # so that a drain can be watched


@transaction.atomic
def seed() -> Account:
    """Make the demo account, or complete it. Idempotent; what somebody changed in it stays."""
    account, _ = Account.objects.get_or_create(
        slug="demo", defaults={"name": "Example Ltd", "time_zone": "Europe/Lisbon", "is_demo": True}
    )
    domain, _ = MailDomain.objects.get_or_create(name=DOMAIN, defaults={"account": account})
    if domain.account_id != account.pk:
        raise RuntimeError(f"{DOMAIN} belongs to another account")
    _people(account)
    DeliverySettings.objects.get_or_create(account=account)
    AlertSettings.objects.get_or_create(account=account)
    users = _users(account)
    monitor = _monitor(account, _route(account))
    contacts = _contacts(account, users)
    if not monitor.contacts.exists():
        monitor.contacts.set(contacts)
    return account


def _people(account: Account) -> None:
    """All but the last can be told something while the mail server is down."""
    groups = [Group.objects.get_or_create(account=account, name=name) for name in GROUPS]
    for n, (name, local_part) in enumerate(PEOPLE):
        person, made = Person.objects.get_or_create(
            address=f"{local_part}@{DOMAIN}",
            defaults={
                "account": account,
                "name": name,
                "alternate_address": f"{local_part}@home.example.net" if n % 3 != 2 and n < 9 else "",
                "phone": f"+120255501{10 + n}" if n % 2 == 0 and n < 9 else "",
            },
        )
        if made:
            groups[n % len(GROUPS)][0].people.add(person)


def sign_in() -> tuple[str, str]:
    """The demo administrator's user name and password, kept in DATA_DIR/demo-sign-in (mode 0600)."""
    path = Path(settings.DATA_DIR) / "demo-sign-in"
    try:
        user, _, password = path.read_text().strip().partition(" ")
    except FileNotFoundError:
        user, password = ADMINISTRATOR, secrets.token_urlsafe(9)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{user} {password}\n")
    return user, password


def _users(account: Account) -> dict[str, User]:
    _, password = sign_in()
    users = {}
    for username, first, last, role in (
        (ADMINISTRATOR, "Maria", "Silva", Membership.Role.ADMINISTRATOR),
        (SUPPORT, "Sam", "Support", Membership.Role.SUPPORT),
    ):
        user, made = User.objects.get_or_create(
            username=username,
            defaults={"first_name": first, "last_name": last, "time_zone": account.time_zone},
        )
        if made:
            user.set_password(password)
            user.save(update_fields=["password"])
        Membership.objects.get_or_create(user=user, account=account, defaults={"role": role})
        users[username] = user
    return users


def _route(account: Account) -> Route:
    route, made = Route.objects.get_or_create(
        account=account,
        name="Mail server",
        defaults={
            "kind": Route.Kind.INBOUND,
            "canary_first_seconds": CANARY_FIRST_SECONDS,
            "canary_max_seconds": CANARY_MAX_SECONDS,
            "max_connections": MAX_CONNECTIONS,
        },
    )
    if made:
        RouteHost.objects.create(route=route, hostname="127.0.0.1", port=settings.DEMO_SMTP_PORT)
    ensure_next_hop(route)
    return route


def _monitor(account: Account, route: Route) -> Monitor:
    monitor, _ = Monitor.objects.get_or_create(
        account=account,
        description="Mail server of Example Ltd",
        defaults={
            "notes": "Demo: windows of 10 seconds instead of 2 minutes.",
            "time_zone": account.time_zone,
            "route": route,
            "threshold": Monitor.HIGH,
            "window_seconds": WINDOW_SECONDS,
        },
    )
    return monitor


def _contacts(account: Account, users: dict[str, User]) -> list[Contact]:
    contacts = []
    for name, time_zone, points in CONTACTS:
        user = users[ADMINISTRATOR] if name.startswith("Maria") else None
        contact, _ = Contact.objects.get_or_create(
            account=account, name=name, defaults={"time_zone": time_zone, "user": user}
        )
        for order, (channel, address) in enumerate(points, 1):
            ContactPoint.objects.get_or_create(
                contact=contact,
                channel=channel,
                address=address,
                defaults={"order": order, "verified_at": timezone.now()},
            )
        contacts.append(contact)
    return contacts
