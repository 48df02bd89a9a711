"""Many monitors at once, for counting queries and for benchmarks."""

from __future__ import annotations

from datetime import datetime

from accounts.models import Account
from delivery.models import NextHop, Route, RouteHost
from monitoring.models import Monitor, Probe


def watched(number: int, start: datetime) -> None:
    """So many accounts with a monitor of both checks, judged until `start`, probed and sent for since."""
    first = Account.objects.count()
    accounts = Account.objects.bulk_create(
        Account(name=f"a{place}", slug=f"a{place}") for place in range(first, first + number)
    )
    routes = Route.objects.bulk_create(Route(account=account, name="Mail server") for account in accounts)
    RouteHost.objects.bulk_create(RouteHost(route=route, hostname="192.0.2.1") for route in routes)
    NextHop.objects.bulk_create(NextHop(route=route, state_since=start) for route in routes)
    monitors = Monitor.objects.bulk_create(
        Monitor(
            account=route.account,
            route=route,
            description="Mail server",
            outbound_host="192.0.2.1",
            outbound_username="probe@example.org",
            judged_until=start,
        )
        for route in routes
    )
    Probe.objects.bulk_create(
        Probe(kind=kind, monitor=monitor, window_start=start, started_at=start)
        for monitor in monitors
        for kind in Probe.Kind.values
    )
