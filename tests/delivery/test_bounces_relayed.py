"""NOTIFY=SUCCESS: passed on where RFC 3461 is known, else the sender is told that mail was handed on."""

from __future__ import annotations

import email

import pytest
from django.utils import timezone
from flufl.bounce import all_failures

from accounts.models import Account
from delivery.models import Message, NextHop, Recipient
from delivery.reads import Scope, reconcile
from delivery.services import bouncing
from tests.delivery.bounced import arrived, field, outbound
from tests.support.couriers import all_delivered, eventually, queue, running_courier
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)
FRIENDLY = "250 2.6.0 Taken"


def asked(hop: NextHop, notify: str = "SUCCESS,FAILURE", **message: object) -> Message:
    made = queue(hop, "anna@acme.example", **({"authentic": True, "envid": "E1"} | message))  # type: ignore[arg-type]
    made.recipients.update(notify=notify, orcpt="rfc822;Anna@acme.example")
    return made


def delivered() -> None:
    with running_courier():
        eventually(all_delivered, "delivered")


def test_the_sender_is_told_that_it_was_handed_on(
    server: MailServer, smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    server.extensions = ("PIPELINING",)
    server.reply("end", FRIENDLY)
    message = asked(hop)
    quiet = queue(hop, "bob@acme.example", authentic=True)
    delivered()
    assert "NOTIFY" not in " ".join(server.commands)
    now = timezone.now()
    assert (bouncing.run(now), bouncing.run(now)) == (1, 0)
    (report,) = arrived(smart_host)
    assert (report.sender, report.recipients) == ("", ("sender@outside.example",))
    parsed = email.message_from_bytes(report.data)
    assert not parsed.defects
    assert parsed.get_content_type() == "multipart/report"
    assert field(report, "Action") == ["relayed"]
    assert field(report, "Status") == ["2.6.0"]
    assert field(report, "Final-Recipient") == ["rfc822; anna@acme.example"]
    assert field(report, "Original-Recipient") == ["rfc822; Anna@acme.example"]
    assert field(report, "Original-Envelope-Id") == ["E1"]
    assert field(report, "Remote-MTA") == ["dns; [127.0.0.1]"]
    assert field(report, "Diagnostic-Code") == []
    assert not any(all_failures(parsed)), "an independent reader sees no failure in it"
    made = Message.objects.get(report="relayed")
    assert made.report_of == message
    assert not quiet.reports.exists()
    assert reconcile(Scope(account.pk)).balanced


def test_where_it_is_known_the_request_is_passed_on(
    server: MailServer, smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    asked(hop, ret="HDRS")
    delivered()
    (received,) = server.messages
    assert "RET=HDRS ENVID=E1" in received.mail_parameters
    assert received.rcpt_parameters == ("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Anna@acme.example",)
    assert bouncing.run(timezone.now()) == 0


def test_nobody_else_is_told(server: MailServer, account: Account, hop: NextHop) -> None:
    outbound(account)
    server.extensions = ()
    asked(hop, "")
    asked(hop, "FAILURE,DELAY")
    asked(hop, "NEVER")
    asked(hop, sender="")
    asked(hop, authentic=False)
    asked(hop, authentic=None)
    delivered()
    assert bouncing.run(timezone.now()) == 0
    assert not Recipient.objects.filter(relay_due=True).exists()
    assert not Message.objects.exclude(report="").exists()


def test_without_a_way_out_it_is_not_made_up_for(server: MailServer, account: Account, hop: NextHop) -> None:
    server.extensions = ()
    asked(hop)
    delivered()
    assert bouncing.run(timezone.now()) == 0
    outbound(account)
    assert bouncing.run(timezone.now()) == 0
