"""The admin shows what was decided; it decides nothing but the end of a link."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client

from accounts.models import AuditEntry, User
from accounts.services import Actor
from events import services, tokens
from events.models import ContinuityEvent, ManageLink
from tests.events.conftest import NIGHT, World


@pytest.fixture
def link(world: World) -> ManageLink:
    world.fails(NIGHT)
    services.tick(NIGHT)
    actor = Actor.contact(world.maria)
    services.activate(world.account.pk, actor, 1, began=ContinuityEvent.Began.LINK, now=NIGHT)
    return ManageLink.objects.create(
        account=world.account,
        contact=world.maria,
        created_at=NIGHT,
        expires_at=NIGHT + timedelta(hours=24),
    )


@pytest.mark.parametrize("model", ["continuityevent", "managelink", "alertstream", "alertsettings"])
def test_lists_and_rows_are_read_only(admin_client: Client, link: ManageLink, model: str) -> None:
    page = admin_client.get(f"/admin/events/{model}/")
    assert page.status_code == 200
    assert tokens.make(link) not in page.content.decode()
    assert admin_client.get(f"/admin/events/{model}/add/").status_code == 403


def test_a_link_can_be_revoked(admin_client: Client, admin_user: User, link: ManageLink) -> None:
    chosen = {"action": "revoke", ACTION_CHECKBOX_NAME: [link.pk]}
    admin_client.post("/admin/events/managelink/", chosen)
    link.refresh_from_db()
    assert link.revoked_at is not None
    entry = AuditEntry.objects.get(action="link.revoked")
    assert (entry.by, entry.actor_id) == ("user", admin_user.pk)
