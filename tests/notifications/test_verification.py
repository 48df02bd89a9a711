"""A contact point counts when the code sent to it was typed in; a test shows what the provider says."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import Account, AuditEntry, Contact, MailDomain, Membership, User
from accounts.services import SCHEDULER, AlreadyDone, Refused
from notifications import codes, services
from notifications.models import ContactPoint, Notification
from notifications.services.points import recheck, usable_points
from notifications.services.verification import send_code, send_test, verify
from tests.notifications.conftest import LINK, NOW, AddPoint, put
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

MINUTE = timedelta(minutes=1)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def asked(account: Account, point: ContactPoint, at: object = NOW) -> str:
    """Ask for a code, let it be sent, and return what stands in the message."""
    sent = send_code(account.pk, SCHEDULER, point.pk, now=at)  # type: ignore[arg-type]
    services.send(sent.pk, at)  # type: ignore[arg-type]
    return sent.code_for(point)


def test_the_code_that_arrives_verifies_the_point_and_nothing_else_does(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider
) -> None:
    point = add_point("sms", "+4915123456789", verified_at=None)
    assert usable_points(put(contact), NOW) == {}, "it does not count yet"
    code = asked(account, point)
    [message] = provider.received
    assert code in message.text
    assert "/m/" not in message.text, "no link that acts as the contact goes to an address nobody verified"
    with pytest.raises(Refused, match="there are 4 tries left"):
        verify(account.pk, SCHEDULER, point.pk, wrong(code), now=NOW + MINUTE)
    verify(account.pk, SCHEDULER, point.pk, f" {code[:3]}-{code[3:]} ", now=NOW + 29 * MINUTE)
    assert list(usable_points(put(contact, "again"), NOW)) == [point.pk]
    actions = list(AuditEntry.objects.order_by("number").values_list("action", flat=True))
    assert actions == ["contact_point.code_sent", "contact_point.wrong_code", "contact_point.verified"]
    with pytest.raises(Refused, match="verified already"):
        verify(account.pk, SCHEDULER, point.pk, code, now=NOW + 29 * MINUTE)


def test_the_code_is_stored_nowhere(
    account: Account, add_point: AddPoint, mail_relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    point = add_point("email", "maria@elsewhere.example", verified_at=None)
    code = asked(account, point)
    assert code.encode() in mail_relay.received[0].content
    assert LINK.encode() not in mail_relay.received[0].content
    rows = [*ContactPoint.objects.values(), *Notification.objects.values(), *AuditEntry.objects.values()]
    # Hashes and instants are hexadecimal and decimal: as a value of its own the code stands nowhere.
    words = [str(value) for row in rows for value in row.values()]
    assert not [word for word in words if f"'{code}'" in word or word == code]
    assert code not in caplog.text


def test_after_half_an_hour_or_five_wrong_codes_a_new_one_is_needed(
    account: Account, add_point: AddPoint, provider: SmsProvider
) -> None:
    point = add_point("sms", "+4915123456789", verified_at=None)
    with pytest.raises(Refused, match="No code was sent"):
        verify(account.pk, SCHEDULER, point.pk, "123456", now=NOW)
    first = asked(account, point)
    with pytest.raises(Refused, match="within the last 30 minutes"):
        verify(account.pk, SCHEDULER, point.pk, first, now=NOW + 30 * MINUTE)
    for _ in range(codes.GUESSES):
        with pytest.raises(Refused, match="This is not the code"):
            verify(account.pk, SCHEDULER, point.pk, wrong(first), now=NOW + MINUTE)
    with pytest.raises(Refused, match="too many wrong codes"):
        verify(account.pk, SCHEDULER, point.pk, first, now=NOW + MINUTE)
    second = asked(account, point, NOW + 2 * MINUTE)
    with pytest.raises(Refused, match="Only the newest one counts"):
        verify(account.pk, SCHEDULER, point.pk, first, now=NOW + 3 * MINUTE)
    assert verify(account.pk, SCHEDULER, point.pk, second, now=NOW + 3 * MINUTE).verified_at


def test_a_changed_address_voids_the_code_that_went_to_the_old_one(
    account: Account, add_point: AddPoint, provider: SmsProvider
) -> None:
    point = add_point("sms", "+4915123456789", verified_at=None)
    code = asked(account, point)
    ContactPoint.objects.update(address="+4915123456780")
    with pytest.raises(Refused, match="This is not the code"):
        verify(account.pk, SCHEDULER, point.pk, code, now=NOW + MINUTE)


def test_a_disabled_point_is_verified_anew(
    account: Account, add_point: AddPoint, provider: SmsProvider
) -> None:
    point = add_point("sms", "+4915123456789", disabled_at=NOW, disabled_reason="unknown subscriber")
    with pytest.raises(Refused, match="disabled"):
        send_test(account.pk, SCHEDULER, point.pk, now=NOW)
    verify(account.pk, SCHEDULER, point.pk, asked(account, point), now=NOW + MINUTE)
    point.refresh_from_db()
    assert (point.disabled_at, point.disabled_reason) == (None, "")


def test_how_often_codes_are_sent_is_limited(account: Account, add_point: AddPoint) -> None:
    point = add_point("sms", "+4915123456789", verified_at=None)
    for minute in range(codes.PER_HOUR):
        send_code(account.pk, SCHEDULER, point.pk, now=NOW + minute * MINUTE)
        with pytest.raises(Refused, match="Wait"):
            send_code(account.pk, SCHEDULER, point.pk, now=NOW + minute * MINUTE + timedelta(seconds=50))
    with pytest.raises(Refused, match=r"within the last hour.* Wait 50 minutes"):
        send_code(account.pk, SCHEDULER, point.pk, now=NOW + 10 * MINUTE)
    send_code(account.pk, SCHEDULER, point.pk, now=NOW + 60 * MINUTE)
    other = add_point("sms", "+4915123456780", verified_at=None)
    send_code(account.pk, SCHEDULER, other.pk, now=NOW + 10 * MINUTE)
    send_code(account.pk, SCHEDULER, other.pk, now=NOW + 12 * MINUTE, request_key="one press")
    with pytest.raises(AlreadyDone):
        send_code(account.pk, SCHEDULER, other.pk, now=NOW + 12 * MINUTE, request_key="one press")


@pytest.mark.django_db(transaction=True)
def test_guesses_at_once_are_no_more_than_one_after_the_other(account: Account, add_point: AddPoint) -> None:
    point = add_point("sms", "+4915123456789", verified_at=None)
    code = send_code(account.pk, SCHEDULER, point.pk, now=NOW).code_for(point)
    start, answers = threading.Barrier(8), list[str]()

    def guess(number: int) -> None:
        try:
            start.wait(10)
            verify(account.pk, SCHEDULER, point.pk, f"{(int(code) + number) % 10**6:06}", now=NOW)
        except Refused as refused:
            answers.append(str(refused))
        finally:
            connection.close()

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum("This is not the code" in answer for answer in answers) == codes.GUESSES
    assert sum("too many wrong codes" in answer for answer in answers) == 8 - codes.GUESSES


def test_a_test_goes_through_the_one_point_and_keeps_the_providers_words(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider, mail_relay: Relay
) -> None:
    add_point("email", "maria@elsewhere.example")
    point = add_point("sms", "+4915123456789")
    sent = send_test(account.pk, SCHEDULER, point.pk, now=NOW)
    services.send(sent.pk, NOW)
    assert (len(provider.received), len(mail_relay.received)) == (1, 0)
    sent.refresh_from_db()
    assert (sent.state, sent.attempts.get().state) == ("sent", "sent")
    provider.status = 500
    again = send_test(account.pk, SCHEDULER, point.pk, now=NOW + 2 * MINUTE)
    services.send(again.pk, NOW + 2 * MINUTE)
    again.refresh_from_db()
    assert again.state == "pending"
    assert mail_relay.received == [], "it does not fall through: this point is what is tested"
    ContactPoint.objects.filter(pk=point.pk).delete()
    services.send_due(NOW + 5 * MINUTE)
    again.refresh_from_db()
    assert again.state == "failed"


def test_what_may_not_be_verified_is_refused(account: Account, contact: Contact, add_point: AddPoint) -> None:
    inside = add_point("email", "maria@example.org", verified_at=None)
    MailDomain.objects.create(account=account, name="example.org")
    with pytest.raises(Refused, match=r"example\.org is one of the domains"):
        send_code(account.pk, SCHEDULER, inside.pk, now=NOW)
    phone = add_point("sms", "+4915123456789", verified_at=None)
    with pytest.raises(Refused, match="not verified"):
        send_test(account.pk, SCHEDULER, phone.pk, now=NOW)
    Contact.objects.update(active=False)
    with pytest.raises(Refused, match="Maria is not alerted"):
        send_code(account.pk, SCHEDULER, phone.pk, now=NOW)
    other = Account.objects.create(name="Other", slug="other")
    with pytest.raises(Refused, match="removed"):
        send_code(other.pk, SCHEDULER, phone.pk, now=NOW)
    for text in ("", "12345", "1234567", "abcdef", "１２３４５６"):
        with pytest.raises(Refused, match="six digits"):
            verify(account.pk, SCHEDULER, phone.pk, text, now=NOW)


def test_a_domain_that_becomes_ours_takes_its_addresses_out_of_use_at_once(
    account: Account, add_point: AddPoint, client: Client
) -> None:
    user = User.objects.create_user("admin")
    Membership.objects.create(user=user, account=account, role=Membership.Role.ADMINISTRATOR)
    client.force_login(user)
    inside = add_point("email", "maria@mail.example.org")
    outside = add_point("email", "maria@elsewhere.example")
    form = {"name": "example.org", "policy": "known"}
    page = client.post("/settings/domain/", form, follow=True).content.decode()
    assert "Maria is not alerted at maria@mail.example.org any more" in page
    inside.refresh_from_db()
    outside.refresh_from_db()
    assert inside.disabled_at
    assert "example.org is one of the domains" in inside.disabled_reason
    assert outside.disabled_at is None
    assert AuditEntry.objects.filter(action="contact_point.disabled").count() == 1


@given(st.integers(0, 10**9), st.text(max_size=30), st.binary(min_size=1, max_size=32))
def test_a_code_is_six_digits_and_another_for_another_address(number: int, address: str, key: bytes) -> None:
    code = codes.code_of(key, number, address)
    assert codes.typed(code) == code
    assert code == codes.code_of(key, number, address)


def test_codes_are_spread_over_all_that_are_possible() -> None:
    found = {codes.code_of(b"key", number, "sms:+49") for number in range(2000)}
    assert len(found) > 1990
    assert {code[0] for code in found} == set("0123456789")


def test_the_console_takes_the_code_and_shows_the_order(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider, client: Client
) -> None:
    user = User.objects.create_user("admin")
    Membership.objects.create(user=user, account=account, role=Membership.Role.ADMINISTRATOR)
    client.force_login(user)
    point = add_point("sms", "+4915123456789", verified_at=None)
    page = client.post(f"/contacts/points/{point.pk}/code/", follow=True).content.decode()
    assert "A code is on its way to +4915123456789" in page
    notification = Notification.objects.get(kind="code")
    services.send(notification.pk)
    page = client.get(f"/contacts/{contact.pk}/").content.decode()
    assert "accepted by the provider" in page
    assert 'name="code"' in page
    code = notification.code_for(point)
    page = client.post(f"/contacts/points/{point.pk}/verify/", {"code": code}, follow=True).content.decode()
    assert "is verified. Alerts go there from now on." in page
    assert "Would be reached by SMS only" in page
    second = add_point("app", "ntfys://ntfy.example.net/alerts")
    client.post(f"/contacts/points/{second.pk}/up/")
    assert list(contact.points.values_list("pk", flat=True)) == [second.pk, point.pk]
    client.post(f"/contacts/points/{second.pk}/up/")
    client.post(f"/contacts/points/{second.pk}/down/")
    assert list(contact.points.values_list("pk", flat=True)) == [point.pk, second.pk]
    assert client.post(f"/contacts/points/{point.pk}/nothing/").status_code == 404
    assert client.get(f"/contacts/points/{point.pk}/code/").status_code == 405
    assert "ntfy.example.net" not in client.get(f"/contacts/{contact.pk}/").content.decode()


def test_the_demo_accounts_own_domain_takes_nothing_out_of_use(account: Account, add_point: AddPoint) -> None:
    from accounts.services import decision

    Account.objects.update(is_demo=True)
    add_point("email", "maria@example.org")
    MailDomain.objects.create(account=account, name="example.org")
    with decision(account.pk, SCHEDULER) as made:
        assert recheck(made) == []


def test_nothing_is_promised_without_a_provider(
    account: Account, contact: Contact, add_point: AddPoint, settings: Settings
) -> None:
    from notifications.reads import reachability_of

    settings.ALERT_SMS_URL = ""
    add_point("sms", "+4915123456789")
    found = reachability_of(contact)
    assert not found.readiness.reached
    assert found.sentence == "Would not be reached: nothing can leave by SMS, for no provider is set."
