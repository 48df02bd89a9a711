"""The audit is append-only: the database refuses, the chain shows what was done behind its back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from accounts import audit
from accounts.models import Account, AuditEntry
from accounts.services import SCHEDULER, Actor, decision
from tests.support.audit import behind_its_back

pytestmark = pytest.mark.django_db
SQLITE = connection.vendor == "sqlite"


@pytest.fixture
def account() -> Account:
    account = Account.objects.create(name="Example Ltd", slug="example")
    decide(account, 5)
    return account


def decide(account: Account, rows: int) -> None:
    with decision(account.pk, SCHEDULER) as made:
        for n in range(rows):
            made.record("event.extended", subject="event:1", reason=f"because {n}", hours=n)


def verified(*args: str) -> tuple[str, int]:
    """What the command says, and its exit status."""
    out = StringIO()
    try:
        call_command("verify_audit", *args, stdout=out)
    except SystemExit as exit_:
        return out.getvalue(), int(str(exit_.code))
    return out.getvalue(), 0


def test_the_database_refuses_to_change_and_to_delete(account: Account) -> None:
    rows = AuditEntry.objects.filter(number=3)
    attempts: list[Callable[[], object]] = [
        lambda: rows.update(reason="another"),
        rows.delete,
        lambda: AuditEntry.objects.get(number=1).save(),
        AuditEntry.objects.all().delete,
    ]
    if not SQLITE:
        attempts.append(lambda: connection.cursor().execute("TRUNCATE accounts_auditentry CASCADE"))
    connection.check_constraints()  # or PostgreSQL speaks of pending triggers first
    for attempt in attempts:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            attempt()
    assert AuditEntry.objects.count() == 5
    assert verified()[1] == 0


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (lambda rows: rows.filter(number=3).update(reason="another"), "row 3 is not what was written"),
        (lambda rows: rows.filter(number=3).update(actor_id=9), "row 3 is not what was written"),
        (lambda rows: rows.filter(number=3).update(at=datetime.now(ZoneInfo("UTC"))), "row 3 is not what"),
        (lambda rows: rows.filter(number=3).update(hash="0" * 64), "row 3 is not what was written"),
        (lambda rows: rows.filter(number=3).update(previous_hash="0" * 64), "row 3 does not follow"),
        (lambda rows: rows.filter(number=3).delete(), "row 3 is missing"),
        (lambda rows: rows.filter(number__in=(1, 2)).delete(), "rows 1 to 2 are missing"),
    ],
)
def test_what_was_changed_behind_its_back_is_found(
    account: Account, done: Callable[[object], object], said: str
) -> None:
    with behind_its_back():
        done(AuditEntry.objects.filter(account=account))
    told, status = verified("--account", "example")
    assert (said in told, status) == (True, 1), told


def test_rows_cut_off_at_the_end_are_found_by_a_copy_kept_elsewhere(account: Account) -> None:
    kept = verified()[0].split("Last: ")[1].strip()
    decide(account, 2)
    assert verified("--expect", kept)[1] == 0
    with behind_its_back():
        AuditEntry.objects.filter(number__gte=4).delete()
    assert verified()[1] == 0, "without the copy nobody knows"
    told, status = verified("--expect", kept)
    assert ("rows 4 to 5 were cut off at the end" in told, status) == (True, 1)
    decide(account, 2)
    told, status = verified("--expect", kept)
    assert ("the chain was written anew" in told, status) == (True, 1)


def test_every_account_is_said_and_wrong_arguments_are_refused(account: Account) -> None:
    Account.objects.create(name="Another", slug="another")
    told, status = verified()
    assert ("another: whole, 0 rows" in told, "example: whole, 5 rows" in told, status) == (True, True, 0)
    for wrong in (
        ["--account", "ghost"],
        ["--expect", f"5:{'0' * 64}"],
        ["--account", "example", "--expect", "5"],
    ):
        with pytest.raises(CommandError):
            call_command("verify_audit", *wrong)


def test_missing_triggers_are_said(account: Account) -> None:
    with connection.cursor() as cursor:
        name = "audit_no_delete" if SQLITE else "audit_append_only ON accounts_auditentry"
        cursor.execute(f"DROP TRIGGER {name}")
    told, status = verified()
    assert ("triggers" in told, status) == (True, 1)


def test_the_chain_is_read_in_batches(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    assert audit.verify(account.pk).rows == 5


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "2001:DB8::0:1", "fe80::1%eth0", "192.0.2.7", None])
def test_what_the_database_gives_back_otherwise_still_fits_its_hash(address: str | None) -> None:
    account = Account.objects.create(name="Example Ltd", slug="example")
    actor = Actor(AuditEntry.By.USER, "M" * 300, 7, address)
    now = datetime(2026, 11, 23, 4, 12, 0, 123456, tzinfo=ZoneInfo("Europe/Berlin"))
    with decision(account.pk, actor, now=now) as made:
        details: dict[str, Any] = {"ü": [1, 2.5, 1e15, 1e-9, None, True], "b": {"a": "\u2028"}}
        made.record("test.happened", subject="s" * 300, reason="“why”\n", **details)
    entry = AuditEntry.objects.get()
    assert entry.hash == audit.entry_hash(entry)
    assert now - entry.at == timedelta(0)
