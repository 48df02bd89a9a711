"""Known recipients: lists are previewed, decided on once, imported in batches, and found fast."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_rq import get_queue, get_worker

from accounts.csv_files import Unreadable
from accounts.models import Account, AuditEntry, MailDomain
from accounts.services import Actor, AlreadyDone, Refused
from delivery.gateway.directory import _known
from delivery.models import KnownRecipient, RecipientImport
from delivery.services import recipients

pytestmark = pytest.mark.django_db
MARIA = Actor(AuditEntry.By.USER, "Maria")
Source, State = KnownRecipient.Source, RecipientImport.State


@pytest.fixture
def domain() -> MailDomain:
    account = Account.objects.create(name="Example", slug="example")
    return MailDomain.objects.create(account=account, name="example.org")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Batches of three, so that few addresses are many batches."""
    monkeypatch.setattr(recipients, "BATCH", 3)
    return 3


def known(domain: MailDomain) -> dict[str, str]:
    return dict(KnownRecipient.objects.filter(domain=domain).values_list("address", "source"))


def know(domain: MailDomain, source: str, *locals_: str) -> None:
    KnownRecipient.objects.bulk_create(
        KnownRecipient(domain=domain, address=f"{local}@{domain.name}", source=source) for local in locals_
    )


def uploaded(domain: MailDomain, *locals_: str) -> RecipientImport:
    data = "".join(f"{local}@{domain.name}\n" for local in locals_).encode()
    return recipients.preview(domain, MARIA, "list.csv", data, timezone.now())


def imported(row: RecipientImport, *, replace: bool = False) -> RecipientImport:
    recipients.confirm(row, MARIA, replace=replace)
    recipients.run(row.pk)
    row.refresh_from_db()
    return row


def test_a_preview_tells_and_changes_nothing(domain: MailDomain) -> None:
    know(domain, Source.IMPORTED, "anna", "old")
    know(domain, Source.LEARNED, "bob")
    row = uploaded(domain, "anna", "bob", "carl", "carl", ".bad")
    assert (row.facts["new"], row.facts["known"], row.facts["gone"]) == (1, 2, 1)
    assert (row.facts["new_first"], row.facts["gone_first"]) == (["carl@example.org"], ["old@example.org"])
    assert (row.facts["duplicates"], row.facts["refused"]) == (1, {"invalid": 1})
    assert set(known(domain)) == {"anna@example.org", "old@example.org", "bob@example.org"}
    assert not AuditEntry.objects.exists()


def test_adding(domain: MailDomain, small: int) -> None:
    know(domain, Source.IMPORTED, "old")
    know(domain, Source.LEARNED, "n3")
    row = imported(uploaded(domain, *(f"n{n}" for n in range(10))))
    assert (row.state, row.added, row.removed, row.progress) == (State.DONE, 9, 0, 10)
    assert row.addresses == "", "the list is not kept longer than needed"
    assert len(known(domain)) == 11
    assert known(domain)["n3@example.org"] == Source.LEARNED
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.actor_name) == ("recipients.imported", "Maria")
    assert entry.details["addresses"] == 10
    assert not entry.details["replace"]


def test_replacing_leaves_what_was_not_imported(domain: MailDomain, small: int) -> None:
    other = MailDomain.objects.create(account=domain.account, name="other.example")
    know(other, Source.IMPORTED, "theirs")
    know(domain, Source.IMPORTED, "keep", *(f"old{n}" for n in range(8)))
    know(domain, Source.LEARNED, "learned")
    know(domain, Source.ALIAS, "alias")
    row = imported(uploaded(domain, "keep", "new"), replace=True)
    assert (row.added, row.removed) == (1, 8)
    assert {address.partition("@")[0] for address in known(domain)} == {"keep", "new", "learned", "alias"}
    assert len(known(other)) == 1


def test_a_list_without_addresses_replaces_nothing(domain: MailDomain) -> None:
    know(domain, Source.IMPORTED, "anna")
    row = recipients.preview(domain, MARIA, "x.csv", b"a@elsewhere.example\n", timezone.now())
    with pytest.raises(Refused, match="nobody would be known"):
        recipients.confirm(row, MARIA, replace=True)
    assert len(known(domain)) == 1


def test_a_preview_is_used_once_and_not_when_old(domain: MailDomain) -> None:
    row = uploaded(domain, "anna")
    recipients.confirm(row, MARIA, replace=False, request_key="k")
    with pytest.raises(AlreadyDone):
        recipients.confirm(row, MARIA, replace=False, request_key="k")
    with pytest.raises(Refused):
        recipients.confirm(row, MARIA, replace=True, request_key="other")
    late = uploaded(domain, "bob")
    with pytest.raises(Refused, match="too old"):
        recipients.confirm(
            late, MARIA, replace=False, now=timezone.now() + recipients.PREVIEW_KEPT + timedelta(seconds=1)
        )
    assert AuditEntry.objects.count() == 1


def test_old_previews_and_history_go(domain: MailDomain) -> None:
    now = timezone.now()
    past = now - timedelta(hours=2)
    stale = recipients.preview(domain, MARIA, "a.csv", b"a@example.org\n", past)
    done = RecipientImport.objects.bulk_create(
        RecipientImport(domain=domain, made_at=now, made_by="x", state=State.DONE, until=now)
        for _ in range(25)
    )
    recipients.preview(domain, MARIA, "b.csv", b"b@example.org\n", now)
    left = set(RecipientImport.objects.values_list("pk", flat=True))
    assert stale.pk not in left
    assert {row.pk for row in done} & left == {row.pk for row in done[-20:]}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("dies_after", range(6))
def test_killed_between_any_two_batches_it_goes_on(
    domain: MailDomain, small: int, monkeypatch: pytest.MonkeyPatch, replace: bool, dies_after: int
) -> None:
    know(domain, Source.IMPORTED, *(f"old{n}" for n in range(7)))
    row = uploaded(domain, *(f"n{n}" for n in range(8)))
    recipients.confirm(row, MARIA, replace=replace)

    class Killed(BaseException):
        pass

    steps = 0
    real = KnownRecipient.objects.bulk_create

    def counted(rows: list[KnownRecipient], **options: Any) -> list[KnownRecipient]:
        nonlocal steps
        if steps == dies_after:
            raise Killed
        steps += 1
        return real(rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(KnownRecipient.objects, "bulk_create", counted)
        try:
            recipients.run(row.pk)
        except Killed:
            assert dies_after < 3
    row.refresh_from_db()
    late = timezone.now() + recipients.LEASE + timedelta(seconds=1)
    assert row.interrupted(late) == (row.state == State.RUNNING)
    if row.state == State.RUNNING:
        with pytest.raises(Refused):
            recipients.carry_on(row, timezone.now())
        recipients.carry_on(row, late)
    recipients.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.added, row.removed) == (State.DONE, 8, 7 if replace else 0)
    assert len(known(domain)) == (8 if replace else 15)


@pytest.mark.django_db(transaction=True)
def test_what_a_dead_worker_left_is_carried_on_by_itself(domain: MailDomain, small: int) -> None:
    get_queue(recipients.QUEUE).empty()  # type: ignore[no-untyped-call]
    row = uploaded(domain, "a", "b", "c", "d")
    RecipientImport.objects.filter(pk=row.pk).update(state=State.RUNNING)
    now = row.until
    recipients.sweep(now)
    assert get_queue(recipients.QUEUE).count == 0, "not while it may be running"
    recipients.sweep(now + timedelta(seconds=1))
    recipients.sweep(now + timedelta(seconds=2))
    assert get_queue(recipients.QUEUE).count == 1
    get_worker(recipients.QUEUE).work(burst=True)
    row.refresh_from_db()
    assert (row.state, row.added) == (State.DONE, 4)


def test_a_worker_killed_at_the_very_end_finishes(domain: MailDomain, small: int) -> None:
    row = uploaded(domain, "a", "b", "c", "d")
    recipients.confirm(row, MARIA, replace=False)
    know(domain, Source.IMPORTED, "a", "b", "c", "d")
    RecipientImport.objects.filter(pk=row.pk).update(progress=4, added=4)
    recipients.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.added) == (State.DONE, 4)


def test_two_workers_do_nothing_twice(domain: MailDomain, small: int) -> None:
    row = uploaded(domain, *(f"n{n}" for n in range(9)))
    recipients.confirm(row, MARIA, replace=False)
    stale = RecipientImport.objects.get(pk=row.pk)
    recipients.run(row.pk)
    assert not recipients._add_batch(stale, 0, stale.addresses.split("\n")[:3])
    row.refresh_from_db()
    assert row.added == 9


def test_one_by_one(domain: MailDomain) -> None:
    row = recipients.add(domain, MARIA, " Sales@Example.org ")
    assert (row.address, row.source) == ("sales@example.org", Source.ALIAS)
    for wrong in ("sales@example.org", "sales@elsewhere.example", "", "x" * 400):
        with pytest.raises(Refused):
            recipients.add(domain, MARIA, wrong)
    other = MailDomain.objects.create(account=domain.account, name="other.example")
    with pytest.raises(Refused):
        recipients.remove(other, MARIA, row.pk)
    assert recipients.remove(domain, MARIA, row.pk) == "sales@example.org"
    with pytest.raises(Refused):
        recipients.remove(domain, MARIA, row.pk)
    actions = list(AuditEntry.objects.order_by("number").values_list("action", flat=True))
    assert actions == ["recipients.added", "recipients.removed"]


def test_a_bad_file_leaves_no_trace(domain: MailDomain) -> None:
    with pytest.raises(Unreadable):
        recipients.preview(domain, MARIA, "x.xlsx", b"PK\x03\x04" + bytes(100), timezone.now())
    assert not RecipientImport.objects.exists()


def test_counts(domain: MailDomain) -> None:
    know(domain, Source.IMPORTED, "a", "b")
    know(domain, Source.LEARNED, "c")
    assert recipients.counts(domain) == {"imported": 2, "alias": 0, "learned": 1}


def test_the_gateway_finds_one_of_many_by_index(domain: MailDomain) -> None:
    imported(uploaded(domain, *(f"user{n}" for n in range(20_000))))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE delivery_knownrecipient")
    assert _known(["user777@example.org", "ghost@example.org"]) == {("example.org", "user777@example.org")}
    wanted = [f"user{n}@example.org" for n in range(50)]
    asked = KnownRecipient.objects.filter(address__in=wanted).values_list("domain__name", "address")
    plan = asked.explain().lower()
    assert "index" in plan
    assert "scan delivery_knownrecipient" not in plan, "SQLite's word for reading all of it"
    assert "seq scan on delivery_knownrecipient" not in plan, "PostgreSQL's"
    page = KnownRecipient.objects.filter(domain=domain, address__gt="user5@").order_by("address")[:51]
    plan = page.explain().lower()
    assert "seq scan on delivery_knownrecipient" not in plan
    assert "temp b-tree" not in plan, "sorted anew for each page"
    assert "index" in plan
