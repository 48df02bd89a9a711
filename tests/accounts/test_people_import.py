"""People from the file to the page, to the database, and back into a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, AuditEntry, Group, MailDomain, Membership, Person
from accounts.people import importing
from accounts.people.models import PersonImport
from accounts.services import Actor, Refused
from tests.site.pages import make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.fixture
def account() -> Account:
    account = Account.objects.create(name="Example", slug="example")
    MailDomain.objects.create(account=account, name="example.org")
    return account


@pytest.fixture
def maria(account: Account) -> Client:
    client = Client()
    client.force_login(make_user("maria", account, Membership.Role.ADMINISTRATOR))
    return client


def upload(client: Client, text: str, country: str = "DE") -> tuple[PersonImport, str]:
    file = SimpleUploadedFile("people.csv", text.encode())
    page = client.post("/people/import/", {"file": file, "country": country}, follow=True)
    assert page.status_code == 200
    return PersonImport.objects.latest("pk"), page.content.decode()


def confirm(client: Client, row: PersonImport, how: str = "add") -> str:
    data = {"how": how, "request_key": f"{row.pk}{how}"}
    return client.post(f"/people/import/{row.pk}/", data, follow=True).content.decode()


@pytest.mark.django_db(transaction=True)
def test_from_the_file_to_people_and_back(account: Account, maria: Client) -> None:
    kept = Person.objects.create(
        account=account, name="Anna", address="anna@example.org", phone="+491701234567", phone_verified_at=NOW
    )
    Person.objects.create(account=account, name="Gone", address="gone@example.org")
    row, page = upload(
        maria,
        "address;name;alternate address;phone;groups\n"
        "anna@example.org;Anna;anna@home.example;0171 7654321;Sales\n"
        "ben@example.org;=Ben;;;Sales|Berlin\n"
        "x@elsewhere.example;X\n",
    )
    for words in ("1 line is in error", "New groups: Berlin, Sales", "has verified", "+491701234567 → +4917"):
        assert words in " ".join(page.split()), words
    assert "who are not in the file" not in page, "with a line in error nobody is removed"
    assert Person.objects.count() == 2
    assert maria.get(f"/people/import/{row.pk}/errors/").getvalue().decode("utf-8-sig").splitlines()[1:] == [
        "4,x@elsewhere.example,The address is not in one of your domains."
    ]
    assert "only by a file without errors" in confirm(maria, row, "replace")
    assert "Imported" in confirm(maria, row)
    assert "used already" in maria.post(f"/people/import/{row.pk}/", {}, follow=True).content.decode()
    kept.refresh_from_db()
    assert (kept.phone, kept.phone_verified_at) == ("+491717654321", None)
    assert {one.name for one in Group.objects.get(name="Sales").people.all()} == {"Anna", "=Ben"}
    (entry,) = AuditEntry.objects.filter(action="people.imported")
    assert entry.details["expected"]["errors"] == 1

    exported = maria.get("/people/export/").getvalue().decode()
    assert ",'=Ben," in exported
    row, page = upload(maria, exported)
    assert row.facts["unchanged"] == 3
    assert row.facts["new"] == row.facts["changed"] == row.facts["errors"] == row.facts["missing"] == 0

    row, page = upload(maria, "\n".join(line for line in exported.splitlines() if "Gone" not in line))
    assert "remove the 1 who" in " ".join(page.split())
    confirm(maria, row, "replace")
    row.refresh_from_db()
    assert (row.state, row.added, row.changed, row.removed) == ("done", 0, 0, 1)
    assert set(Person.objects.values_list("address", flat=True)) == {"anna@example.org", "ben@example.org"}


def test_a_long_file_goes_in_parts_and_on_after_a_crash(
    account: Account, maria: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART", 20)
    queued: list[int] = []
    monkeypatch.setattr(importing, "_enqueue", queued.append)
    monkeypatch.setattr(importing, "AT_ONCE", 10)
    good = [f"u{n}@example.org,User {n},G{n % 3}" for n in range(100)]
    bad = [f"u{n}@elsewhere.example,Bad {n}," for n in range(5)]
    row, page = upload(maria, "address,name,groups\n" + "\n".join(good + bad))
    assert "lines are read" in page
    assert queued == [row.pk]

    keep = importing._keep

    def killed(*arguments: object) -> bool:
        if arguments[2] == 3:
            raise KeyboardInterrupt
        return keep(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(importing, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        importing.run(row.pk)
    monkeypatch.setattr(importing, "_keep", keep)
    row.refresh_from_db()
    late = row.until + timedelta(seconds=1)
    importing.sweep(late)
    importing.sweep(late)
    assert queued == [row.pk, row.pk], "swept up once"
    importing.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.total, row.facts["new"], row.facts["errors"]) == ("preview", 100, 100, 5)
    assert bytes(row.content) == b""
    assert [line for line, _text, _why in row.facts["shown_errors"]] == [102, 103, 104, 105, 106]

    with monkeypatch.context() as patch:
        patch.setattr(transaction, "on_commit", lambda job: job())
        importing.confirm(row, somebody(), remove_missing=False, now=row.until)
    with monkeypatch.context() as patch:
        patch.setattr(importing, "store", lambda account_id, found: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            importing.run(row.pk)
    assert Person.objects.count() == 0
    with CaptureQueriesContext(
        connection,
    ) as queries:
        importing.run(row.pk)
    assert len(queries) < 25 * 6, "a constant number for each part"
    row.refresh_from_db()
    assert (row.state, row.added, Person.objects.count()) == ("done", 100, 100)
    assert sum(group.people.count() for group in Group.objects.all()) == 100
    importing.run(row.pk)
    assert Person.objects.count() == 100


def somebody() -> Actor:
    return Actor(AuditEntry.By.USER, "Maria")


def test_a_preview_is_used_in_time_or_not_at_all(account: Account, maria: Client) -> None:
    row, _page = upload(maria, "address\nanna@example.org\n")
    with pytest.raises(Refused):
        importing.confirm(row, somebody(), remove_missing=False, now=row.until + timedelta(seconds=1))
    page = maria.post(f"/people/import/{row.pk}/", {"discard": "1"}, follow=True).content.decode()
    assert "Nothing was imported." in page
    assert not PersonImport.objects.exists()
    row, page = upload(maria, "anna@example.org\nben@example.org\n")
    assert "must name the columns" in page


def test_people_and_groups_are_added_changed_and_removed(account: Account, maria: Client) -> None:
    maria.post("/people/groups/add/", {"name": "Sales  team", "request_key": "1"})
    group = Group.objects.get(name="Sales team")
    assert "would be two groups" in maria.post("/people/groups/add/", {"name": "a;b"}).content.decode()
    data = {"name": "Anna", "address": "Anna@Example.org", "phone": "+49 170 1234567", "groups": [group.pk]}
    maria.post("/people/add/", data | {"request_key": "2"})
    anna = Person.objects.get(address="anna@example.org")
    assert list(anna.groups.all()) == [group]
    Person.objects.update(phone_verified_at=NOW)
    for changed, verified in (("Ann", True), ("Ann", True)):
        maria.post(f"/people/{anna.pk}/", data | {"name": changed})
        anna.refresh_from_db()
        assert (anna.name, bool(anna.phone_verified_at)) == ("Ann", verified)
    maria.post(f"/people/{anna.pk}/", data | {"phone": "+49 171 1234567", "groups": []})
    anna.refresh_from_db()
    assert (anna.phone, anna.phone_verified_at, anna.groups.count()) == ("+491711234567", None, 0)
    strange = maria.post("/people/add/", data | {"address": "x@elsewhere.example"})
    assert "not in one of your domains" in strange.content.decode()
    maria.post(f"/people/{anna.pk}/", {"remove": "1"})
    maria.post(f"/people/groups/{group.pk}/", {"remove": "1"})
    assert not Person.objects.exists()
    assert not Group.objects.exists()
    actions = AuditEntry.objects.order_by("number").values_list("action", flat=True)
    assert list(actions)[:2] == ["settings.added", "settings.added"]
