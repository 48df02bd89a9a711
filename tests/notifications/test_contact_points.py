"""Contact points: one form of each address, what is refused, what is shown, what is checked at the start."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Account, Contact, MailDomain, User
from notifications import addresses
from notifications.forms import ContactPoints
from notifications.models import ContactPoint
from notifications.reads import reachability, reachability_of
from tests.notifications.conftest import NOW, AddPoint, put
from tests.support.sms_provider import SmsProvider


def cleaned(contact: Contact, channel: str, address: str) -> str:
    point = ContactPoint(contact=contact, channel=channel, address=address)
    point.full_clean()
    return point.address


@pytest.mark.parametrize(
    ("channel", "typed", "stored"),
    [
        ("email", " Maria@Elsewhere.EXAMPLE ", "Maria@elsewhere.example"),
        ("email", "maria@bücher.example", "maria@xn--bcher-kva.example"),
        ("sms", "+49 (151) 23 45 67 89", "+4915123456789"),
        ("sms", "+44 7911 123456", "+447911123456"),
        ("sms", "0049 151 23456789", "+4915123456789"),
        ("sms", "+49.151/234-56789", "+4915123456789"),
        ("sms", "+٤٩ ١٥١ ٢٣٤٥٦٧٨٩", "+4915123456789"),
        ("app", "ntfys://ntfy.example.net/alerts", "ntfys://ntfy.example.net/alerts"),
        ("app", "json://10.0.0.7:8080/hook", "json://10.0.0.7:8080/hook"),
    ],
)
def test_an_address_is_stored_in_its_one_form(
    contact: Contact, channel: str, typed: str, stored: str
) -> None:
    assert cleaned(contact, channel, typed) == stored


@pytest.mark.parametrize(
    ("channel", "typed"),
    [
        ("email", "maria"),
        ("email", "maria@"),
        ("email", "a@b@c.example"),
        ("email", "maria@" + "x" * 64 + ".example"),
        ("sms", "0151 23456789"),
        ("sms", "+49"),
        ("sms", "+49 151"),
        ("sms", "+999 123456789"),
        ("sms", "+49 30 123456 ext. 7"),
        ("sms", "phone"),
        ("sms", "+4915123456789012345"),
        ("app", "https"),
        ("app", "nonsense://x"),
        ("app", "file:///etc/passwd"),
        ("app", "dbus://"),
        ("app", "syslog://"),
        ("app", "windows://"),
        ("app", "mailto://user:pass@example.org"),
        ("app", "json://127.0.0.1/x"),
        ("app", "json://localhost/x"),
        ("app", "json://169.254.169.254/latest"),
        ("app", "json://[::1]/x"),
        ("app", "discord://1234/abcd?template=/etc/passwd"),
        ("app", "json://[broken"),
    ],
)
def test_what_cannot_be_an_address_is_refused(contact: Contact, channel: str, typed: str) -> None:
    with pytest.raises(ValidationError) as raised:
        cleaned(contact, channel, typed)
    assert "address" in raised.value.message_dict


@pytest.mark.parametrize("domain", ["example.org", "mail.EXAMPLE.org", "a.b.example.org"])
def test_mail_to_one_of_the_accounts_own_domains_is_refused_with_the_reason(
    contact: Contact, domain: str
) -> None:
    MailDomain.objects.create(account=contact.account, name="example.org")
    with pytest.raises(ValidationError, match=r"example\.org is one of the domains"):
        cleaned(contact, "email", f"maria@{domain}")
    assert cleaned(contact, "email", "maria@notexample.org")
    other = Account.objects.create(name="Other", slug="other")
    MailDomain.objects.create(account=other, name="notexample.org")
    assert cleaned(contact, "email", "maria@notexample.org")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("0151 23456789", "with its country code"),
        ("4915123456789", "with its country code"),
        ("", "country code"),
        ("+1 800 FLOWERS", "letters"),
        ("phone", "letters"),
        ("+49", "not a phone number"),
        ("+49 151", "lacks its area code"),
        ("+44 791", "too short"),
        ("+4915123456789012345", "too long"),
        ("+999 123456789", "No country"),
        ("+49 30 123456 ext. 7", "extension"),
        ("+1 202 555", "too short"),
        ("+1 111 111 1111", "No phone has this number"),
        ("+49 900 1234567", "service line"),
        ("+1 800 234 5678", "service line"),
        ("+٤٩١٥١٢٣٤٥٦٧٨٩x", "letters"),
    ],
)
def test_a_wrong_phone_number_is_refused_with_what_is_wrong_with_it(typed: str, why: str) -> None:
    with pytest.raises(addresses.Unusable, match=why):
        addresses.cleaned("sms", typed)


def test_reachability_takes_two_queries_however_many_contacts_there_are(
    account: Account,
    contact: Contact,
    add_point: AddPoint,
    django_assert_num_queries: DjangoAssertNumQueries,
    settings: Settings,
) -> None:
    settings.ALERT_EMAIL_URL = "smtp://relay.example.net"
    usable = add_point("email", "maria@elsewhere.example")
    unverified = add_point("sms", "+4915123456789", verified_at=None)
    for number in range(5):
        Contact.objects.create(account=account, name=f"Zoe {number}")
    with django_assert_num_queries(2):
        found = reachability(account)
        assert [reach.readiness.reached for reach in found] == [True] + [False] * 5
        assert found[0].sentence
    assert found[0].points == (usable, unverified)
    contact.active = False
    assert not reachability_of(contact).readiness.reached


def test_the_start_warns_of_contacts_that_no_setting_can_reach(
    account: Account, contact: Contact, add_point: AddPoint, settings: Settings
) -> None:
    def found() -> list[str | None]:
        messages = run_checks(databases=["default"])
        return [message.id for message in messages if str(message.id).startswith("notifications.")]

    settings.ALERT_EMAIL_URL = settings.ALERT_SMS_URL = ""
    assert found() == []
    add_point("email", "maria@elsewhere.example")
    add_point("sms", "+4915123456789")
    assert found() == ["notifications.W001", "notifications.W002"]
    settings.ALERT_EMAIL_URL = "smtp://relay.example.net"
    assert found() == ["notifications.W002"]
    settings.ALERT_EMAIL_URL, settings.ALERT_SMS_URL = "nonsense", "vonage://a:b@c/123"
    assert found() == ["notifications.E001", "notifications.E002"]
    settings.ALERT_EMAIL_URL = settings.ALERT_SMS_URL = ""
    Account.objects.update(is_demo=True)
    assert found() == []


def test_the_admin_never_shows_the_secrets_of_an_app_again(
    contact: Contact, add_point: AddPoint, provider: SmsProvider, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("root", "root@example.net", "x"))
    secret = "ntfys://user:app-password@ntfy.example.net/alerts"
    point = add_point("app", secret)
    put(contact)
    for name in ("contactpoint", "notification", "attempt", "suspension", "demomessage"):
        page = client.get(reverse(f"admin:notifications_{name}_changelist"))
        assert page.status_code == 200
        assert b"app-password" not in page.content
    address = reverse("admin:notifications_contactpoint_change", args=[point.pk])
    page = client.get(address)
    assert b"app-password" not in page.content
    form = {"contact": contact.pk, "channel": "app", "address": point.shown_address, "order": 5}
    assert client.post(address, form).status_code == 302
    point.refresh_from_db()
    assert (point.address, point.order, point.verified_at) == (secret, 5, NOW)
    answer = client.post(address, form | {"address": "dbus://"})
    assert answer.status_code == 200
    assert b"acts on the gateway itself" in answer.content
    client.post(address, form | {"address": "ntfys://elsewhere.example.net/alerts"})
    point.refresh_from_db()
    assert point.verified_at is None, "another address has to be verified, whoever typed it in"


def test_the_consoles_form_neither_shows_nor_loses_the_secrets_of_an_app(
    contact: Contact, add_point: AddPoint
) -> None:
    secret = "ntfys://user:app-password@ntfy.example.net/alerts"
    point = add_point("app", secret)
    blank = ContactPoints(instance=contact, prefix="points")
    assert "app-password" not in str(blank)
    data = {"points-TOTAL_FORMS": "1", "points-INITIAL_FORMS": "1", "points-0-id": point.pk}
    data |= {"points-0-channel": "app", "points-0-address": "ntfys://…"}
    filled = ContactPoints(data, instance=contact, prefix="points")
    assert filled.is_valid(), filled.errors
    assert filled.forms[0].changed_data == []
    filled.save()
    point.refresh_from_db()
    assert point.address == secret
