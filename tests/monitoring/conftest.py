"""A monitored account, and words to tell what its mail server did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from accounts.models import Account, MailDomain
from delivery.models import Attempt, Message, NextHop, Recipient, Route, RouteHost
from monitoring import history, ourselves
from monitoring.models import Monitor

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=2)


class Site:
    """One account with an inbound route, its next hop and a monitor that was judged until START."""

    def __init__(self, name: str = "example", **monitor: object) -> None:
        self.account = Account.objects.create(name=name, slug=name)
        self.domain = MailDomain.objects.create(account=self.account, name=f"{name}.org")
        self.route = Route.objects.create(account=self.account, name="Mail server")
        self.hop = NextHop.objects.create(route=self.route, state_since=START)
        values = {
            "account": self.account,
            "description": "Mail server",
            "route": self.route,
            "threshold": 3,
            "judged_until": START,
        }
        self.monitor = Monitor.objects.create(**(values | monitor))

    def host(self, port: int, **fields: object) -> RouteHost:
        values = {"route": self.route, "hostname": "127.0.0.1", "port": port}
        return RouteHost.objects.create(**(values | fields))

    def attempt(self, at: datetime, result: str, reply: str = "", state: str = "queued") -> Recipient:
        """A real delivery attempt that ended at `at`; moves the next hop as the courier does."""
        message = Message.objects.create(
            account=self.account, accepted_at=at, size=1, client_address="127.0.0.1"
        )
        recipient = Recipient.objects.create(
            message=message,
            next_hop=self.hop,
            address=f"a@{self.domain.name}",
            state="delivered" if result == "delivered" else state,
            accepted_at=at,
            next_attempt_at=at,
            expires_at=at + timedelta(hours=96),
        )
        Attempt.objects.create(
            recipient=recipient,
            next_hop=self.hop,
            at=at,
            duration_ms=5,
            result=result,
            stage="end" if result == "delivered" else "connect",
            reply=reply,
        )
        field = "last_success_at" if result == "delivered" else "last_failure_at"
        NextHop.objects.filter(pk=self.hop.pk).update(**{field: at})
        return recipient

    def fresh(self) -> Monitor:
        self.monitor.refresh_from_db()
        return self.monitor


@pytest.fixture(autouse=True)
def _any_disk_will_do_who_is_silent_is_not_waited_for_and_nothing_is_remembered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.forget_kept()
    settings.DISK_FAILED_MB = 0
    monkeypatch.setattr(ourselves, "ONE", 0.3)


@pytest.fixture
def make_site(db: None) -> Callable[..., Site]:
    return Site


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
