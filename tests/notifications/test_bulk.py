"""Bulk notices: whom they reach, what becomes of each copy, and what people decide meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import Account, AuditEntry, Group, Person
from accounts.services import SCHEDULER, AlreadyDone, Refused
from notifications.bulk import decisions, people, progress, reads, rules, sending
from notifications.bulk.models import Notice, NoticeRecipient
from notifications.rules import HOUR, Limit
from tests.notifications.conftest import NOW
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

# Copies are handed over by threads, which see only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
LATER = NOW + timedelta(hours=1)
Write = Callable[..., Notice]


def add_person(account: Account, n: int, *, email: bool = True, sms: bool = False) -> Person:
    return Person.objects.create(
        account=account,
        name=f"Person {n:04}",
        address=f"person{n}@{account.slug}.example",
        alternate_address=f"person{n}@elsewhere.example" if email else "",
        phone=f"+49151{n:08}" if sms else "",
    )


@pytest.fixture
def write(account: Account) -> Write:
    def written(**changes: object) -> Notice:
        facts: dict[str, object] = {"everybody": True, "subject": "Use the web", "text": "Until noon."}
        facts |= {"sms_text": "Use the web until noon.", "made_at": NOW, "made_by": "Maria"}
        return Notice.objects.create(account=account, **(facts | changes))

    return written


def start(notice: Notice) -> None:
    decisions.start(notice.account_id, SCHEDULER, notice.pk)


def fates(notice: Notice) -> dict[str, int]:
    return dict(Counter(notice.recipients.values_list("state", flat=True)))


def test_each_person_gets_one_copy_by_the_best_way(
    account: Account, write: Write, mail_relay: Relay, provider: SmsProvider
) -> None:
    both, mail_only = add_person(account, 1, sms=True), add_person(account, 2)
    phone_only = add_person(account, 3, email=False, sms=True)
    nobody, outside = add_person(account, 4, email=False), add_person(account, 5)
    first, second = (Group.objects.create(account=account, name=name) for name in ("Wards", "Doctors"))
    first.people.set([both, mail_only, phone_only])
    second.people.set([both, nobody])
    notice = write(everybody=False, way="sms,email")
    notice.groups.set([first, second])
    reach = people.reach(notice)
    assert (reach.everybody, reach.by_channel, reach.unreachable) == (4, {"sms": 2, "email": 1}, 1)
    assert list(people.unreachable(notice)) == [nobody]
    start(notice)
    assert sending.run(notice.pk, LATER) is False
    assert {one.path for one in provider.received} == {f"/sms/{p.phone[1:]}" for p in (both, phone_only)}
    assert [mail.recipients for mail in mail_relay.received] == [(mail_only.alternate_address,)]
    lines = mail_relay.received[0].text.splitlines()
    assert lines == ["Until noon.", "", "-- ", "This notice was sent by Example Hospital."]
    assert fates(notice) == {"sent": 3, "unreachable": 1}
    assert not notice.recipients.filter(person=outside).exists()
    notice.refresh_from_db()
    assert notice.state == "done"
    said = notice.recipients.get(person=mail_only)
    assert said.words == "250 2.0.0 Ok: queued as 4XyZ"


def test_decisions_are_audited_and_made_once(account: Account, write: Write) -> None:
    add_person(account, 1)
    notice = write()
    decisions.start(account.pk, SCHEDULER, notice.pk, "key")
    with pytest.raises(AlreadyDone):
        decisions.start(account.pk, SCHEDULER, notice.pk, "key")
    with pytest.raises(Refused, match="is being sent"):
        start(notice)
    decisions.pause(account.pk, SCHEDULER, notice.pk)
    with pytest.raises(Refused, match="paused"):
        decisions.pause(account.pk, SCHEDULER, notice.pk)
    decisions.resume(account.pk, SCHEDULER, notice.pk)
    decisions.cancel(account.pk, SCHEDULER, notice.pk)
    with pytest.raises(Refused, match="cancelled"):
        decisions.retry(account.pk, SCHEDULER, notice.pk)
    actions = AuditEntry.objects.order_by("number").values_list("action", flat=True)
    assert list(actions) == ["notice.started", "notice.paused", "notice.resumed", "notice.cancelled"]
    other = Account.objects.create(name="Other", slug="other")
    with pytest.raises(Notice.DoesNotExist):
        decisions.discard(other.pk, SCHEDULER, notice.pk)


def test_nobody_to_reach_and_a_missing_sms_text_are_refused(account: Account, write: Write) -> None:
    with pytest.raises(Refused, match="Nobody"):
        start(write())
    add_person(account, 1, sms=True)
    with pytest.raises(Refused, match="SMS text"):
        start(write(way="sms", sms_text=" "))


def test_a_paused_notice_rests_and_a_cancelled_one_ends(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    for n in range(5):
        add_person(account, n)
    notice = write()
    start(notice)
    progress.list_people(notice.pk, NOW)
    decisions.pause(account.pk, SCHEDULER, notice.pk)
    assert sending.run(notice.pk, LATER) is False
    assert sending.sweep(LATER) == 0
    assert mail_relay.received == []
    decisions.resume(account.pk, SCHEDULER, notice.pk)
    held = progress.claim(notice.pk, "email", "token", 2, LATER)
    decisions.cancel(account.pk, SCHEDULER, notice.pk)
    assert fates(notice) == {"cancelled": 3, "sending": 2}
    settled = [progress.Fate(held[0], NoticeRecipient.State.SENT), progress.Fate(held[1], _PENDING)]
    progress.settle(notice.pk, "token", settled, LATER)
    assert fates(notice) == {"cancelled": 4, "sent": 1}
    assert progress.claim(notice.pk, "email", "token", 2, LATER) == []


_PENDING = NoticeRecipient.State.PENDING


def test_a_copy_is_claimed_once_and_settled_only_by_its_claim(account: Account, write: Write) -> None:
    add_person(account, 1)
    notice = write()
    start(notice)
    progress.list_people(notice.pk, NOW)
    (copy,) = progress.claim(notice.pk, "email", "first", 10, LATER)
    assert progress.claim(notice.pk, "email", "second", 10, LATER) == []
    sent = [progress.Fate(copy, NoticeRecipient.State.SENT, "250")]
    progress.settle(notice.pk, "second", sent, LATER)
    assert fates(notice) == {"sending": 1}
    progress.settle(notice.pk, "first", sent, LATER)
    assert fates(notice) == {"sent": 1}


def test_an_address_refused_for_good_fails_and_is_tried_again_at_its_new_address(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    person, lost = add_person(account, 1), add_person(account, 2, email=False)
    notice = write(way="email")
    start(notice)
    mail_relay.at_rcpt = "550 5.1.1 no such user"
    sending.run(notice.pk, LATER)
    notice.refresh_from_db()
    assert (notice.state, fates(notice)) == ("done", {"failed": 1, "unreachable": 1})
    assert notice.recipients.get(person=person).words == "550 5.1.1 no such user"
    mail_relay.recover()
    Person.objects.filter(pk=person.pk).update(alternate_address="new@elsewhere.example")
    Person.objects.filter(pk=lost.pk).update(alternate_address="lost@elsewhere.example")
    decisions.retry(account.pk, SCHEDULER, notice.pk)
    sending.run(notice.pk, LATER)
    got = {mail.recipients[0] for mail in mail_relay.received}
    assert got == {"new@elsewhere.example", "lost@elsewhere.example"}
    with pytest.raises(Refused, match="nobody to try again"):
        decisions.retry(account.pk, SCHEDULER, notice.pk)


def test_who_is_not_reached_by_the_first_channel_is_by_the_next_and_once_by_each(
    account: Account, write: Write, mail_relay: Relay, provider: SmsProvider
) -> None:
    both, lost = add_person(account, 1, sms=True), add_person(account, 2)
    notice = write()
    start(notice)
    mail_relay.at_rcpt = "550 5.1.1 no such user"
    assert sending.run(notice.pk, LATER) is False
    copy = notice.recipients.get(person=both)
    assert (copy.state, copy.channel, copy.address, copy.tries) == ("sent", "sms", both.phone, 1)
    assert copy.earlier == f"E-mail, {both.alternate_address}: 550 5.1.1 no such user"
    assert notice.recipients.get(person=lost).earlier == ""
    counted = reads.progress_of(notice, LATER)
    assert (counted.counts, counted.total, counted.further) == ({"sent": 1, "failed": 1}, 2, 1)
    notice.refresh_from_db()
    assert (notice.state, len(provider.received), len(mail_relay.refused)) == ("done", 1, 2)
    # Only who failed is tried again, and from the first channel on.
    Person.objects.filter(pk=lost.pk).update(phone="+4915100000009")
    mail_relay.recover()
    decisions.retry(account.pk, SCHEDULER, notice.pk)
    sending.run(notice.pk, LATER)
    assert [mail.recipients for mail in mail_relay.received] == [(lost.alternate_address,)]
    assert (fates(notice), len(provider.received)) == ({"sent": 2}, 1)


def test_the_last_channel_is_the_end_and_without_sms_text_there_is_no_sms(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    person = add_person(account, 1, sms=True)
    for changes, way in (({"sms_text": " "}, "email"), ({"way": "email"}, "email"), ({}, "sms")):
        notice = write(**changes)
        start(notice)
        progress.list_people(notice.pk, NOW)
        (copy,) = progress.claim(notice.pk, "email", "token", 1, LATER)
        failed = [progress.Fate(copy, NoticeRecipient.State.FAILED, "550 no")]
        assert progress.settle(notice.pk, "token", failed, LATER) == (way == "sms")
        row = notice.recipients.get()
        assert (row.channel, row.state) == (way, "pending" if way == "sms" else "failed")
    (copy,) = progress.claim(notice.pk, "sms", "token", 1, LATER)
    assert progress.settle(notice.pk, "token", [progress.Fate(copy, row.State.FAILED, "21211")], LATER) == 0
    row.refresh_from_db()
    assert (row.state, row.words) == ("failed", "21211")
    assert row.earlier == f"E-mail, {person.alternate_address}: 550 no"
    decisions.cancel(account.pk, SCHEDULER, notice.pk)


def test_an_address_refused_for_now_waits_and_fails_after_four_tries(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    add_person(account, 1)
    notice = write()
    start(notice)
    mail_relay.at_rcpt = "450 4.2.1 greylisted"
    now = LATER
    for seconds in (30, 120, 600):
        sending.run(notice.pk, now)
        copy = notice.recipients.get()
        assert (copy.state, copy.words) == ("pending", "450 4.2.1 greylisted")
        assert timedelta(seconds=seconds) <= copy.due_at - now < timedelta(seconds=seconds + 5)
        now += timedelta(seconds=seconds + 10)
    sending.run(notice.pk, now)
    assert fates(notice) == {"failed": 1}
    assert len(mail_relay.refused) == 4


def test_a_relay_that_is_away_is_one_fact_and_costs_nobody_a_try(
    account: Account, write: Write, mail_relay: Relay, settings: Settings
) -> None:
    for n in range(30):
        add_person(account, n)
    url = settings.ALERT_EMAIL_URL
    settings.ALERT_EMAIL_URL = "smtp://127.0.0.1:1"
    notice = write()
    start(notice)
    assert sending.run(notice.pk, LATER) is False
    notice.refresh_from_db()
    assert "refused" in notice.away_words
    assert fates(notice) == {"pending": 30}
    assert set(notice.recipients.values_list("tries", flat=True)) == {0}
    settings.ALERT_EMAIL_URL = url
    assert sending.run(notice.pk, LATER) is False, "it waits"
    assert sending.sweep(LATER + timedelta(minutes=1)) == 1
    notice.refresh_from_db()
    assert (notice.state, notice.away_times, fates(notice)) == ("done", 0, {"sent": 30})


def test_a_relay_that_never_answers_leaves_copies_that_perhaps_arrived(
    account: Account, write: Write, mail_relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.transports.smtp.ANSWER_SECONDS", 0.2)
    add_person(account, 1)
    notice = write()
    start(notice)
    mail_relay.hang_at = "data"
    sending.run(notice.pk, LATER)
    assert fates(notice) == {"unknown": 1}
    mail_relay.recover()
    with pytest.raises(Refused):
        decisions.retry(account.pk, SCHEDULER, notice.pk)
    decisions.retry_unknown(account.pk, SCHEDULER, notice.pk)
    sending.run(notice.pk, LATER)
    assert fates(notice) == {"sent": 1}
    ids = {mail.parsed["Message-ID"] for mail in mail_relay.received}
    assert (len(mail_relay.received), len(ids)) == (2, 1), "mailboxes may know the second by its id"


def test_what_a_vanished_sender_left_is_told_as_perhaps_sent(
    account: Account, write: Write, mail_relay: Relay
) -> None:
    for n in range(3):
        add_person(account, n)
    notice = write()
    start(notice)
    progress.list_people(notice.pk, NOW)
    progress.claim(notice.pk, "email", "gone", 2, NOW)
    sending.sweep(NOW + timedelta(seconds=30))
    assert fates(notice) == {"sending": 2, "sent": 1}
    sending.sweep(LATER)
    notice.refresh_from_db()
    assert (notice.state, fates(notice)) == ("done", {"unknown": 2, "sent": 1})


def test_listing_goes_on_where_it_was_cut_off(
    account: Account, write: Write, mail_relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STEP", 4)
    for n in range(10):
        add_person(account, n)
    notice = write()
    start(notice)
    assert progress.list_people(notice.pk, NOW)
    sending.sweep(LATER)
    assert fates(notice) == {"sent": 10}
    assert len({mail.recipients for mail in mail_relay.received}) == 10


def test_reach_takes_one_query_however_many_there_are(account: Account, write: Write) -> None:
    notice = write()
    for n in range(3):
        add_person(account, n, email=n == 0)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        people.reach(notice)
    assert len(captured) == 1


def test_the_demo_sends_nothing(account: Account, write: Write) -> None:
    Account.objects.filter(pk=account.pk).update(is_demo=True)
    add_person(account, 1)
    notice = write()
    start(notice)
    sending.run(notice.pk, LATER)
    assert list(account.demo_messages.values_list("to", "subject")) == [
        ("person1@elsewhere.example", "Use the web")
    ]


def test_sms_over_a_limit_wait_and_are_told(
    account: Account, write: Write, provider: SmsProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (Limit("sms", "installation", 3, timedelta(seconds=1)), Limit("sms", "installation", 5, HOUR))
    monkeypatch.setattr(rules, "LIMITS", limits)
    monkeypatch.setattr("notifications.bulk.lanes.THREADS", {"email": 1, "sms": 2})
    for n in range(7):
        add_person(account, n, email=False, sms=True)
    notice = write(way="sms")
    start(notice)
    while sending.run(notice.pk, LATER):
        pass
    sending.run(notice.pk, LATER)
    notice.refresh_from_db()
    assert fates(notice) == {"sent": 5, "pending": 2}
    assert notice.away_words == "The limit of this installation is reached: 5 SMS in 1 h."
    assert sending.sweep(LATER + timedelta(hours=2)) == 1
    notice.refresh_from_db()
    assert (notice.state, len(provider.received)) == ("done", 7)
