"""One link for each contact and alert."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings

from accounts.models import AuditEntry
from accounts.services import SCHEDULER, Refused, decision
from events import services, tokens
from events.models import ManageLink
from notifications.models import Notification
from notifications.services import notify
from notifications.services.links import link_of
from tests.events.conftest import NIGHT, World

DAY = timedelta(hours=24)


@pytest.fixture
def alert(world: World) -> Notification:
    with decision(world.account.pk, SCHEDULER, now=NIGHT) as decided:
        made = notify(decided, world.maria, "outage", {}, "test:1")
    assert made is not None
    return made


def test_the_same_alert_always_carries_the_same_link(alert: Notification) -> None:
    link = services.link_for(alert, NIGHT)
    assert services.link_for(alert, NIGHT + DAY / 2) == link
    assert (link.contact_id, link.account_id) == (alert.contact_id, alert.account_id)
    assert link.works(NIGHT + DAY - timedelta(seconds=1))
    assert not link.works(NIGHT + DAY)


def test_an_alert_sent_a_day_late_brings_a_link_that_works(alert: Notification) -> None:
    services.link_for(alert, NIGHT)
    assert services.link_for(alert, NIGHT + 2 * DAY).works(NIGHT + 2 * DAY)


def test_notifications_find_the_absolute_address(alert: Notification) -> None:
    url = link_of(alert, NIGHT)
    link = ManageLink.objects.get()
    assert url == f"{settings.BASE_URL}/m/{tokens.make(link)}/"
    assert len(url) < 70, "it has to fit into an SMS"


def test_a_revoked_link_stays_revoked_and_the_audit_knows(alert: Notification) -> None:
    link = services.link_for(alert, NIGHT)
    services.revoke(link, SCHEDULER, now=NIGHT)
    link = services.link_for(alert, NIGHT + 2 * DAY)
    assert not link.works(NIGHT + 2 * DAY)
    assert AuditEntry.objects.get(action="link.revoked").subject == f"link:{link.pk}"
    with pytest.raises(Refused, match="revoked before"):
        services.revoke(link, SCHEDULER, now=NIGHT)
