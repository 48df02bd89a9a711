"""Suspensions add up, for everybody or for one, and cover the outages that were open."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import Account, AuditEntry, Contact
from accounts.services import SCHEDULER, Actor, AlreadyDone, Refused
from notifications.models import Suspension
from notifications.reads import silenced
from notifications.services import suspend, suspended_until
from tests.notifications.conftest import NOW

HOUR = timedelta(hours=1)


def test_suspended_again_the_hours_are_added_to_what_remains(account: Account, contact: Contact) -> None:
    actor = Actor.contact(contact)
    assert suspend(account.pk, actor, 4, now=NOW).until == NOW + 4 * HOUR
    assert suspend(account.pk, actor, 2, now=NOW + HOUR).until == NOW + 6 * HOUR
    entry = AuditEntry.objects.latest("number")
    assert entry.action == "notifications.suspended"
    assert entry.details["until"] == entry.after == (NOW + 6 * HOUR).isoformat()
    assert entry.before == (NOW + 4 * HOUR).isoformat()
    # Once it has run out there is nothing left to add to.
    assert suspend(account.pk, actor, 1, now=NOW + 9 * HOUR).until == NOW + 10 * HOUR


def test_just_me_adds_to_whatever_silences_me_and_leaves_the_others_alone(
    account: Account, contact: Contact
) -> None:
    other = Contact.objects.create(account=account, name="Ben")
    suspend(account.pk, SCHEDULER, 2, now=NOW)
    assert suspend(account.pk, Actor.contact(contact), 1, contact=contact, now=NOW).until == NOW + 3 * HOUR
    assert suspend(account.pk, Actor.contact(contact), 1, contact=contact, now=NOW).until == NOW + 4 * HOUR
    assert suspended_until(account.pk, contact.pk, NOW, NOW) == NOW + 4 * HOUR
    assert suspended_until(account.pk, other.pk, NOW, NOW) == NOW + 2 * HOUR
    assert suspended_until(account.pk, None, NOW, NOW) == NOW + 2 * HOUR
    assert suspended_until(account.pk, other.pk, NOW, NOW + 2 * HOUR) is None
    found = silenced(account.pk, NOW)
    assert (found.everybody, found.contacts) == (NOW + 2 * HOUR, {contact.pk: NOW + 4 * HOUR})


def test_a_new_outage_alerts_until_it_is_suspended_as_well(account: Account, contact: Contact) -> None:
    suspend(account.pk, SCHEDULER, 4, now=NOW)
    opened = NOW + HOUR
    assert suspended_until(account.pk, contact.pk, opened, opened) is None
    suspend(account.pk, SCHEDULER, 1, now=NOW + 2 * HOUR)
    assert suspended_until(account.pk, contact.pk, opened, NOW + 2 * HOUR) == NOW + 5 * HOUR


@pytest.mark.parametrize("hours", [0, -1, 3, 48, 10**6])
def test_other_durations_are_refused(account: Account, hours: int) -> None:
    with pytest.raises(Refused):
        suspend(account.pk, SCHEDULER, hours)
    assert not Suspension.objects.exists()
    assert not AuditEntry.objects.exists()


def test_the_contact_of_another_account_is_refused(account: Account) -> None:
    stranger = Contact.objects.create(
        account=Account.objects.create(name="Other", slug="other"), name="Eve", time_zone="UTC"
    )
    with pytest.raises(Refused):
        suspend(account.pk, SCHEDULER, 1, contact=stranger)


def test_the_same_request_counts_once(account: Account) -> None:
    suspend(account.pk, SCHEDULER, 1, request_key="nonce", now=NOW)
    with pytest.raises(AlreadyDone):
        suspend(account.pk, SCHEDULER, 1, request_key="nonce", now=NOW)
    assert Suspension.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_at_once_all_count(account: Account) -> None:
    start = threading.Barrier(8)
    failures: list[Exception] = []

    def press() -> None:
        try:
            start.wait(10)
            suspend(account.pk, SCHEDULER, 2, now=NOW)
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert suspended_until(account.pk, None, NOW, NOW) == NOW + 16 * HOUR
    assert AuditEntry.objects.filter(action="notifications.suspended").count() == 8
