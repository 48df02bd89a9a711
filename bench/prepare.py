"""Run in the environment of a database: one account, a domain for known recipients only, a route."""

from __future__ import annotations

import os
import sys

import django


def main(port: int, connections: int) -> None:
    from accounts.models import Account, MailDomain, Person
    from delivery.models import Route, RouteHost
    from delivery.services import ensure_next_hop

    account = Account.objects.create(name="Bench", slug="bench")
    MailDomain.objects.create(account=account, name="bench.test")
    Person.objects.bulk_create(
        Person(account=account, name=f"Person {n}", address=f"person{n}@bench.test") for n in range(1000)
    )
    Person.objects.create(account=account, name="Anna", address="anna@bench.test")
    route = Route.objects.create(account=account, name="Mail server", max_connections=connections)
    RouteHost.objects.create(route=route, hostname="127.0.0.1", port=port or 9)
    ensure_next_hop(route)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "continuity_site.settings")
    django.setup()
    main(int(sys.argv[1]), int(sys.argv[2]))
