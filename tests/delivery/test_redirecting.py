"""Waiting mail goes another way when somebody says so, and only what waits."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, AlreadyDone, Refused
from delivery.models import NextHop, Recipient, Route
from delivery.services import redirect
from tests.support.couriers import (
    all_delivered,
    eventually,
    make_account,
    make_hop,
    queue,
    queue_many,
    running_courier,
)
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account() -> Account:
    return make_account()


def test_what_waits_for_a_dead_server_goes_to_another_one(account: Account) -> None:
    with MailServer() as dead, MailServer() as good:
        dead.stop()
        hop, other = make_hop(account, dead, name="old"), make_hop(account, good, name="new")
        NextHop.objects.filter(pk=hop.pk).update(state="down")
        ids = queue_many(hop, 620)
        moved = redirect(
            Recipient.objects.values_list("pk", flat=True), other.route, SCHEDULER, "moved", request_key="one"
        )
        assert moved == 620
        with running_courier():
            good.wait_for(620)
            eventually(all_delivered, "delivered")
    assert good.count_by_message_id() == dict.fromkeys(ids, 1)
    entry = AuditEntry.objects.get(action="mail.redirected")
    assert (entry.reason, entry.details) == ("moved", {"number": 620})
    with pytest.raises(AlreadyDone):
        redirect([1], other.route, SCHEDULER, "moved", request_key="one")


def test_only_waiting_mail_of_the_same_account_is_moved(account: Account) -> None:
    with MailServer() as server:
        hop, stranger = make_hop(account, server), make_hop(make_account("other"), server)
        outbound = Route.objects.create(account=account, name="out", kind=Route.Kind.OUTBOUND)
    for state in Recipient.State.values:
        queue(hop, "ann@One.example", "bob@bücher.example").recipients.update(state=state)
    queue(stranger)
    later = timezone.now().replace(year=2100)
    Recipient.objects.update(next_attempt_at=later)
    ids = list(Recipient.objects.values_list("pk", flat=True))
    assert redirect(ids, outbound, SCHEDULER, "why not") == 6
    moved = Recipient.objects.filter(next_hop__route=outbound)
    assert set(moved.values_list("state", "next_hop__domain")) == {
        (state, domain)
        for state in ("queued", "held", "quarantined")
        for domain in ("one.example", "xn--bcher-kva.example")
    }
    assert set(moved.exclude(next_attempt_at=later).values_list("state", flat=True)) == {"queued"}
    with pytest.raises(Refused, match="None of these"):
        redirect(ids, outbound, SCHEDULER, "again")
