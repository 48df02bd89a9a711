"""The pages of known recipients: a list from the file to the gateway, and who may do what."""

from __future__ import annotations

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_rq import get_queue, get_worker

from accounts.csv_files import harmless
from accounts.models import Account, AuditEntry, MailDomain, Membership, Person
from delivery.models import KnownRecipient, RecipientImport
from delivery.recipients_import import normalise, read_list
from delivery.services import recipients
from tests.site.pages import make_user

pytestmark = pytest.mark.django_db
ADMINISTRATOR, SUPPORT = Membership.Role.ADMINISTRATOR, Membership.Role.SUPPORT


@pytest.fixture
def domain() -> MailDomain:
    account = Account.objects.create(name="Example", slug="example")
    return MailDomain.objects.create(account=account, name="example.org")


def signed_in(domain: MailDomain, role: Membership.Role, name: str = "maria") -> Client:
    client = Client()
    client.force_login(make_user(name, domain.account, role))
    return client


@pytest.fixture
def maria(domain: MailDomain) -> Client:
    return signed_in(domain, ADMINISTRATOR)


def address_of(domain: MailDomain) -> str:
    return f"/settings/domains/{domain.pk}/recipients/"


def upload(client: Client, domain: MailDomain, data: bytes, name: str = "list.csv") -> str:
    response = client.post(
        f"{address_of(domain)}import/", {"file": SimpleUploadedFile(name, data)}, follow=True
    )
    assert response.status_code == 200
    return response.content.decode()


def know(domain: MailDomain, *addresses: str) -> None:
    KnownRecipient.objects.bulk_create(
        KnownRecipient(domain=domain, address=address, source="imported") for address in addresses
    )


@pytest.mark.django_db(transaction=True)
def test_a_short_list_from_the_file_to_the_page(domain: MailDomain, maria: Client) -> None:
    know(domain, "old@example.org")
    assert "Import a list" in maria.get(address_of(domain)).content.decode()
    data = "Name;E-Mail\r\nJürgen;anna@example.org\r\nx;x@elsewhere.example\r\n".encode("cp1252")
    page = upload(maria, domain, data, "Empfänger <b>.csv")
    for words in ("Windows-1252", "semicolon", "column “E-Mail”", "Add 1 address", "Empfänger &lt;b&gt;.csv"):
        assert words in page
    assert "of another domain" in page
    assert ">3<" in page, "the number of the refused line"
    assert "remove 1 address" in page
    assert not KnownRecipient.objects.filter(address="anna@example.org").exists()
    row = RecipientImport.objects.get()
    done = maria.post(
        f"{address_of(domain)}import/{row.pk}/", {"how": "replace", "request_key": "k"}, follow=True
    ).content.decode()
    assert "1 address was added. 1 was removed." in done
    assert list(KnownRecipient.objects.values_list("address", flat=True)) == ["anna@example.org"]
    again = maria.post(
        f"{address_of(domain)}import/{row.pk}/", {"how": "add", "request_key": "k2"}, follow=True
    )
    assert "was used already" in again.content.decode()
    assert AuditEntry.objects.filter(action="recipients.imported").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_long_list_is_imported_by_a_worker(
    domain: MailDomain, maria: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "AT_ONCE", 10)
    get_queue(recipients.QUEUE).empty()  # type: ignore[no-untyped-call]
    upload(maria, domain, "".join(f"n{n}@example.org\n" for n in range(30)).encode())
    row = RecipientImport.objects.get()
    address = f"{address_of(domain)}import/{row.pk}/"
    page = maria.post(address, {"how": "add"}, follow=True).content.decode()
    assert "0 of 30 addresses are through" in page
    assert 'data-live="1"' in page
    get_worker(recipients.QUEUE).work(burst=True)
    page = maria.get(address).content.decode()
    assert "Imported" in page
    assert 'data-live="1"' not in page
    assert KnownRecipient.objects.count() == 30


def test_support_looks_and_changes_nothing(domain: MailDomain, maria: Client) -> None:
    know(domain, "anna@example.org")
    upload(maria, domain, b"bob@example.org\n")
    row, one = RecipientImport.objects.get(), KnownRecipient.objects.get()
    sam = signed_in(domain, SUPPORT, "sam")
    base = address_of(domain)
    page = sam.get(base).content.decode()
    assert "anna@example.org" in page
    for words in ("Import a list", "Remove", "Add one", "Export"):
        assert words not in page
    assert ">Import<" not in sam.get(f"{base}import/{row.pk}/").content.decode()
    for path, data in (
        ("add/", {"address": "x@example.org"}),
        ("remove/", {"recipient": one.pk}),
        ("import/", {}),
        (f"import/{row.pk}/", {"how": "replace"}),
    ):
        assert sam.post(base + path, data).status_code == 403
    assert sam.get(f"{base}export/").status_code == 403
    assert KnownRecipient.objects.count() == 1


def test_another_account_is_not_there(domain: MailDomain, maria: Client) -> None:
    other = Account.objects.create(name="Other", slug="other")
    theirs = MailDomain.objects.create(account=other, name="other.example")
    know(theirs, "anna@other.example")
    upload(signed_in(theirs, ADMINISTRATOR, "eve"), theirs, b"bob@other.example\n")
    row, one = RecipientImport.objects.get(), KnownRecipient.objects.get()
    base = address_of(theirs)
    for path in ("", "export/", f"import/{row.pk}/"):
        assert maria.get(base + path).status_code == 404
    for path in ("add/", "remove/", "import/", f"import/{row.pk}/"):
        assert maria.post(base + path, {"recipient": one.pk}).status_code == 404
    ours = address_of(domain)
    assert maria.get(f"{ours}import/{row.pk}/").status_code == 404
    maria.post(f"{ours}remove/", {"recipient": one.pk})
    assert KnownRecipient.objects.count() == 1


def test_searching_and_paging(domain: MailDomain, maria: Client) -> None:
    know(domain, *(f"user{n:03}@example.org" for n in range(120)))
    KnownRecipient.objects.filter(address="user007@example.org").update(source="learned")
    base = address_of(domain)
    first = maria.get(base).content.decode()
    assert "user049@example.org" in first
    assert "user050@example.org" not in first
    second = maria.get(f"{base}?after=user049@example.org").content.decode()
    assert "user050@example.org" in second
    assert "after=user099%40example.org" in second
    found = maria.get(f"{base}?q=SER11").content.decode()
    assert "user119@example.org" in found
    assert "user007@example.org" not in found
    assert "user007@example.org" in maria.get(f"{base}?source=learned").content.decode()
    assert "No address matches" in maria.get(f"{base}?q=%25").content.decode()
    assert maria.get(f"{base}?after=%00&q=%00&source=x").status_code == 200


def test_the_number_of_queries_does_not_grow(domain: MailDomain, maria: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            maria.get(address_of(domain))
        return len(asked)

    know(domain, "anna@example.org")
    upload(maria, domain, b"a@example.org\n")
    few = queries()
    know(domain, *(f"user{n}@example.org" for n in range(100)))
    for _ in range(4):
        upload(maria, domain, b"a@example.org\n")
    assert queries() == few


def test_adding_and_removing_one(domain: MailDomain, maria: Client) -> None:
    Person.objects.create(account=domain.account, name="P", address="p@example.org")
    base = address_of(domain)

    def post(path: str, **data: object) -> str:
        return maria.post(base + path, {**data, "next": base}, follow=True).content.decode()

    assert "anna@example.org is known from now on" in post("add/", address="Anna@example.org")
    page = post("add/", address="<script>")
    assert "is not an address of example.org" in page
    assert "<script>," not in page
    row = KnownRecipient.objects.get()
    assert "anna@example.org is not known any more" in post("remove/", recipient=row.pk)
    assert maria.post(f"{base}remove/", {"recipient": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Choose a file"),
        (b"PK\x03\x04" + bytes(50), "not a CSV file"),
        (b'a\n"b@example.org\n' + b"c\n" * 40, "opens in line 2"),
        (b"\n\n", "The file is empty"),
    ],
)
def test_a_file_that_cannot_be_used(domain: MailDomain, maria: Client, data: bytes, words: str) -> None:
    address = f"{address_of(domain)}import/"
    file = SimpleUploadedFile("list.csv", data)
    assert words in maria.post(address, {"file": file}, follow=True).content.decode()
    assert not RecipientImport.objects.exists()


def test_a_file_of_nobody(domain: MailDomain, maria: Client) -> None:
    page = upload(maria, domain, b"a@elsewhere.example\n")
    assert "holds no address of example.org" in page
    assert ">Import<" not in page


def test_the_export_is_harmless_and_comes_back_as_it_was(domain: MailDomain, maria: Client) -> None:
    addresses = ["+anna@example.org", "-b@example.org", "=c@example.org", "'d@example.org", "e@example.org"]
    know(domain, *addresses)
    response = maria.get(f"{address_of(domain)}export/")
    data = b"".join(response)
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    assert rows[0] == ["address", "source"]
    for cell, _source in rows[1:]:
        assert cell[0] not in "=+-@\t\r"
    assert sorted(read_list(data, "example.org").addresses) == sorted(addresses)


@pytest.mark.parametrize("address", ["a@example.org", "'a@example.org", "''a'@example.org", "+a@example.org"])
def test_what_was_made_harmless_is_read_back(address: str) -> None:
    assert normalise(harmless(address), "example.org") == address
