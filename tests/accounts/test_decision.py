"""Decisions of one account happen one by one, each with its row in the chain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from django.db import connection

from accounts.audit import entry_hash
from accounts.models import Account, AuditEntry, Contact, Membership, User
from accounts.services import SCHEDULER, Actor, AlreadyDone, Refused, decision

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Example Ltd", slug="example")


def test_a_decision_records_who_what_when_and_why(account: Account) -> None:
    maria = Contact.objects.create(account=account, name="Maria")
    at = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
    with decision(account.pk, Actor.contact(maria, "192.0.2.1"), now=at) as made:
        made.record(
            "pause.started", subject="pause:1", before="flowing", after="paused", reason="repair", hours=2
        )
    entry = AuditEntry.objects.get()
    assert (entry.number, entry.at, entry.by, entry.actor_id) == (1, at, "contact", maria.pk)
    assert (entry.actor_name, entry.ip_address, entry.reason) == ("Maria", "192.0.2.1", "repair")
    assert entry.details == {"hours": 2}


def test_the_chain_covers_every_field_and_the_row_before(account: Account) -> None:
    for word in ("one", "two", "three"):
        with decision(account.pk, SCHEDULER) as made:
            made.record("test.happened", reason=word, number=1.5, nested={"é": [1, None]})
    entries = list(AuditEntry.objects.order_by("number"))
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [entry.previous_hash for entry in entries] == ["", entries[0].hash, entries[1].hash]
    assert all(entry.hash == entry_hash(entry) for entry in entries)
    entries[1].reason = "changed afterwards"
    assert entries[1].hash != entry_hash(entries[1])


def test_numbers_are_counted_for_each_account(account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    for one in (account, other, account):
        with decision(one.pk, SCHEDULER) as made:
            made.record("test.happened")
    assert list(other.audit.values_list("number", flat=True)) == [1]
    assert list(account.audit.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_a_repeated_request_does_nothing_and_shows_the_first_answer(account: Account) -> None:
    with decision(account.pk, SCHEDULER, request_key="form-1") as made:
        first = made.record("event.activated")
        made.record("event.noted")
    with pytest.raises(AlreadyDone) as repeated, decision(account.pk, SCHEDULER, request_key="form-1"):
        pytest.fail("the decision was made twice")
    assert repeated.value.entry == first
    assert AuditEntry.objects.count() == 2


def test_another_account_may_use_the_same_request_key(account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    for one in (account, other):
        with decision(one.pk, SCHEDULER, request_key="1") as made:
            made.record("test.happened")
    assert AuditEntry.objects.count() == 2


def test_a_refused_decision_leaves_nothing(account: Account) -> None:
    def refuse() -> None:
        with decision(account.pk, SCHEDULER) as made:
            made.record("test.happened")
            raise Refused("It is already so.")

    with pytest.raises(Refused, match="already"):
        refuse()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_fifty_decisions_at_once_make_one_unbroken_chain(account: Account) -> None:
    def decide(key: int) -> None:
        try:
            with decision(account.pk, SCHEDULER, request_key=str(key // 2)) as made:
                made.record("test.happened", key=key)
        except AlreadyDone:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(decide, range(50)))
    entries = list(AuditEntry.objects.order_by("number"))
    assert [entry.number for entry in entries] == list(range(1, 26))
    assert all(after.previous_hash == before.hash for before, after in pairwise(entries))


def test_users_see_only_the_accounts_they_belong_to(account: Account) -> None:
    Account.objects.create(name="Other", slug="other")
    member = User.objects.create_user("member")
    Membership.objects.create(user=member, account=account, role=Membership.Role.SUPPORT)
    assert list(Account.objects.visible_to(member)) == [account]
    assert Account.objects.visible_to(User.objects.create_superuser("root")).count() == 2
    assert not Account.objects.visible_to(User.objects.create_user("stranger")).exists()
