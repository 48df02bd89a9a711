"""Run in the environment of a database: a contact with a phone, and a monitor of a dead mail server."""

from __future__ import annotations

import os
import sys

import django


def main(name: str) -> None:
    from django.utils import timezone

    from accounts.models import Account, Contact
    from delivery.models import Route, RouteHost
    from delivery.services import ensure_next_hop
    from monitoring.models import Monitor
    from notifications.models import ContactPoint

    Monitor.objects.all().delete()  # of the round before
    account = Account.objects.get(slug="bench")
    contact, new = Contact.objects.get_or_create(account=account, name="Maria")
    if new:
        ContactPoint.objects.create(
            contact=contact, channel="sms", address="+4915123456789", verified_at=timezone.now()
        )
    route = Route.objects.create(account=account, name=name)
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=9)
    ensure_next_hop(route)
    monitor = Monitor.objects.create(
        account=account, description=name, route=route, threshold=2, window_seconds=5
    )
    monitor.contacts.add(contact)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "continuity_site.settings")
    django.setup()
    main(sys.argv[1])
