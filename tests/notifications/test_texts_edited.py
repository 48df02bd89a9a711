"""An account's own texts: saved with an audit row, used while sending, and never in the way of an alert."""

from __future__ import annotations

import logging

import pytest

from accounts.models import Account, AuditEntry, Contact
from accounts.services import SCHEDULER, AlreadyDone, Refused
from notifications.models import MessageTemplate
from notifications.services import change_texts, restore_texts, send
from notifications.texts import Part, shipped
from tests.notifications.conftest import LINK, NOW, AddPoint, put
from tests.support.relay import Relay
from tests.support.sms_provider import SmsProvider

pytestmark = pytest.mark.django_db
OWN = {
    "subject": "Down: {account}",
    "text": "{monitor} <b> is down.\n\nGo: {link}",
    "sms": "{account}! {link}",
}


def change(account: Account, language: str = "en", key: str | None = None, **bodies: str) -> bool:
    return change_texts(account, SCHEDULER, "outage", language, bodies, request_key=key)


def test_own_texts_are_sent_in_the_place_of_shipped_ones(
    account: Account, contact: Contact, add_point: AddPoint, mail_relay: Relay
) -> None:
    change(account, **OWN)
    add_point("email", "maria@phone.example")
    send(put(contact, now=NOW).pk, NOW)
    mail = mail_relay.received[0].parsed
    assert mail["Subject"] == "Down: Example Hospital"
    body = mail.get_body(("plain",))
    assert body
    assert body.get_content().split("\r\n") == ["Exchange <b> is down.", "", f"Go: {LINK}", ""]
    page = mail.get_body(("html",))
    assert page
    assert "<strong>Exchange &lt;b&gt; is down.</strong>" in page.get_content()
    assert f'href="{LINK}"' in page.get_content()
    assert ">Go</a>" in page.get_content()


def test_only_the_contacts_own_language_is_changed(
    account: Account, contact: Contact, add_point: AddPoint, provider: SmsProvider
) -> None:
    change(account, sms="English {link}")
    change(account, "de", sms="Deutsch {link}")
    Contact.objects.filter(pk=contact.pk).update(language="de")
    add_point("sms", "+491701234567")
    send(put(contact).pk, NOW)
    assert provider.received[-1].text == f"Deutsch {LINK}"


@pytest.mark.parametrize("broken", ["{gone} {link}", "no way in", "", "{link}" * 800])
def test_a_stored_text_that_cannot_be_right_costs_no_alert(
    account: Account,
    contact: Contact,
    add_point: AddPoint,
    provider: SmsProvider,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    MessageTemplate.objects.create(account=account, kind="outage", language="en", part="sms", body=broken)
    add_point("sms", "+491701234567")
    with caplog.at_level(logging.WARNING, "notifications.texts"):
        send(put(contact).pk, NOW)
    assert provider.received[-1].text.startswith("Example Hospital: Exchange failing since 03:02 CET.")
    assert "the edited sms of outage is not used" in caplog.text


def test_a_change_is_one_decision_with_the_words_of_before_and_after(account: Account) -> None:
    assert change(account, subject="One", sms="SMS {link}")
    assert change(account, subject="  Two ", sms="SMS {link}")
    entry = AuditEntry.objects.latest("number")
    assert (entry.action, entry.subject, entry.after) == ("text.changed", "text:outage:en", "subject")
    assert entry.details["texts"] == {"subject": ["One", "Two"]}
    assert not change(account, subject="Two")
    assert AuditEntry.objects.count() == 2, "nothing changed, so nothing was decided"
    restore_texts(account, SCHEDULER, "outage", "en")
    entry = AuditEntry.objects.latest("number")
    assert entry.action == "text.restored"
    assert entry.details["texts"] == {"subject": ["Two", None], "sms": ["SMS {link}", None]}
    assert not MessageTemplate.objects.exists()
    with pytest.raises(Refused, match="shipped texts already"):
        restore_texts(account, SCHEDULER, "outage", "en")


def test_the_shipped_words_are_no_text_of_ones_own(account: Account) -> None:
    change(account, subject="One", sms="SMS {link}")
    assert change(account, subject=shipped("outage", Part.SUBJECT).replace("\n", "\r\n") + "  ")
    assert [one.part for one in MessageTemplate.objects.all()] == ["sms"]


def test_a_form_sent_twice_changes_once(account: Account) -> None:
    change(account, key="a", subject="One")
    with pytest.raises(AlreadyDone):
        change(account, key="a", subject="Two")
    assert MessageTemplate.objects.get().body == "One"


@pytest.mark.parametrize(
    ("kind", "language", "bodies", "why"),
    [
        ("outage", "en", {"subject": "ok", "sms": "no way in"}, "SMS: The link is missing"),
        ("outage", "en", {"subject": "{password}"}, "Subject: {password} is not a variable"),
        ("outage", "xx", {"subject": "ok"}, "no such text"),
        ("_foot", "en", {"subject": "ok"}, "no such text"),
    ],
)
def test_what_cannot_be_right_is_not_saved(
    account: Account, kind: str, language: str, bodies: dict[str, str], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        change_texts(account, SCHEDULER, kind, language, bodies)
    assert not MessageTemplate.objects.exists()
    assert not AuditEntry.objects.exists()
