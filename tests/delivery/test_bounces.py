"""Senders are told of what was given up: by a report over real sockets, once, and only if they wrote it."""

from __future__ import annotations

import email
import smtplib
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from flufl.bounce import scan_message

from accounts.models import Account
from delivery import bounces, jobs
from delivery.bounces import Built, Report
from delivery.models import DeliverySettings, Message, NextHop, Recipient
from delivery.reads import Scope, reconcile, reconcile_account
from delivery.rules.bounces import LOOK_AGAIN
from delivery.services import bouncing, sending
from tests.delivery.bounced import arrived, field, final, given_up, outbound, refused
from tests.support.couriers import (
    eventually,
    queue,
    running_courier,
    states,
)
from tests.support.gateway import gateway
from tests.support.mailserver import MailServer
from tests.support.processes import Processes

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = b"Message-ID: <m1@outside.example>\r\nSubject: Lunch\r\n"


def test_a_refused_message_goes_back_to_its_sender(
    server: MailServer, smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    message = queue(hop, "ghost@acme.example", "anna@acme.example", authentic=True, envid="E1")
    message.recipients.filter(address="ghost@acme.example").update(orcpt="rfc822;Ghost@acme.example")
    refused(server, hop, message)
    bouncing.run(timezone.now())
    (report,) = arrived(smart_host)
    assert final(message) == {"ghost@acme.example": "bounced", "anna@acme.example": "delivered"}
    assert (report.sender, report.recipients) == ("", ("sender@outside.example",))
    assert scan_message(email.message_from_bytes(report.data)) == {b"Ghost@acme.example"}
    assert field(report, "Status") == ["5.1.1"]
    assert field(report, "Remote-MTA") == ["dns; [127.0.0.1]"]
    assert field(report, "Diagnostic-Code") == ["smtp; 550 5.1.1 No such user"]
    assert field(report, "Original-Envelope-Id") == ["E1"]
    assert field(report, "Last-Attempt-Date")
    assert message.message_id.encode() in report.data
    assert NextHop.objects.get(route__kind="outbound").domain == "outside.example"
    assert Message.objects.get(report="failure").report_of == message


def test_the_whole_story_from_the_gateway_on(
    server: MailServer, smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    DeliverySettings.objects.create(account=account, bounce="always")
    server.reply("rcpt", "550-5.7.1 Not here,\r\n550 5.7.1 not for you")
    with gateway() as running, running_courier():
        with smtplib.SMTP("127.0.0.1", running.port, local_hostname="client.example", timeout=10) as client:
            client.sendmail(
                "eve@outside.example",
                ["ghost@acme.example"],
                "Subject: Gr\u00fc\u00dfe\r\n\r\nShall we?\r\n".encode(),
                mail_options=["RET=FULL", "ENVID=QQ+2B314"],
                rcpt_options=["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;ghost@old.example"],
            )
        eventually(lambda: states(hop) == {"expired": 1}, "refused")
        jobs.bounce()
        (report,) = smart_host.wait_for(1)
    assert states(hop) == {"bounced": 1}
    assert report.recipients == ("eve@outside.example",)
    assert "BODY=8BITMIME" in report.mail_parameters
    assert scan_message(email.message_from_bytes(report.data)) == {b"ghost@old.example"}
    assert field(report, "Original-Envelope-Id") == ["QQ+314"]
    assert field(report, "Diagnostic-Code") == ["smtp; 550 5.7.1 Not here, 5.7.1 not for you"]
    returned = next(
        part for part in email.message_from_bytes(report.data).walk() if part["Received"] and part["Subject"]
    )
    assert "Shall we?" in str(returned.get_payload())


def test_mail_goes_back_when_its_time_is_over(
    server: MailServer, smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    now = timezone.now()
    message = queue(hop, "anna@acme.example", authentic=True, at=now)
    failed: dict[str, object] = {"state": "down", "last_reply": "421 4.3.2 Shutting down"}
    hop_row = NextHop.objects.filter(pk=hop.pk)
    hop_row.update(last_failure_at=now + timedelta(hours=95), **failed)
    assert sending.expire_due(now + timedelta(hours=95.1)) == 0
    assert bouncing.run(now + timedelta(hours=95.1)) == 0
    hop_row.update(last_failure_at=now + timedelta(hours=96), **failed)
    assert sending.expire_due(now + timedelta(hours=96.1)) == 1
    assert bouncing.run(now + timedelta(hours=96.1)) == 1
    Recipient.objects.filter(state="queued").update(next_attempt_at=now)
    (report,) = arrived(smart_host)
    assert final(message) == {"anna@acme.example": "bounced"}
    assert field(report, "Status") == ["4.4.7"]
    assert field(report, "Action") == ["failed"]
    assert field(report, "Diagnostic-Code") == ["smtp; 421 4.3.2 Shutting down"]


@pytest.mark.parametrize(
    ("sender", "authentic", "notify", "bounce", "told"),
    [
        ("anna@outside.example", True, "", "authentic", True),
        ("anna@outside.example", True, "SUCCESS,FAILURE", "authentic", True),
        ("anna@outside.example", False, "", "always", True),
        ("anna@outside.example", None, "", "authentic", False),
        ("anna@outside.example", False, "", "authentic", False),
        ("anna@outside.example", True, "NEVER", "always", False),
        ("anna@outside.example", True, "SUCCESS,DELAY", "always", False),
        ("", True, "", "always", False),
    ],
)
def test_who_is_told(
    account: Account, hop: NextHop, sender: str, authentic: bool | None, notify: str, bounce: str, told: bool
) -> None:
    outbound(account)
    DeliverySettings.objects.create(account=account, bounce=bounce)
    message = given_up(hop, sender=sender, authentic=authentic)
    message.recipients.update(notify=notify)
    assert bouncing.run(timezone.now()) == told
    assert final(message) == {"somebody@acme.example": "bounced" if told else "rejected"}
    assert message.recipients.get().final_at
    assert Message.objects.exclude(report="").count() == told
    assert message.content, "the content is kept until its retention ends"


def test_one_report_names_all_who_are_due_and_nobody_else(account: Account, hop: NextHop) -> None:
    outbound(account)
    message = given_up(hop, "a@acme.example", "b@acme.example", "never@acme.example", "c@acme.example")
    message.recipients.filter(address="never@acme.example").update(notify="NEVER")
    message.recipients.filter(address="c@acme.example").update(state="queued")
    assert bouncing.run(timezone.now()) == 1
    data = bytes(Message.objects.get(report="failure").content.data)
    assert scan_message(email.message_from_bytes(data)) == {b"a@acme.example", b"b@acme.example"}
    assert final(message) == {
        "a@acme.example": "bounced",
        "b@acme.example": "bounced",
        "never@acme.example": "rejected",
        "c@acme.example": "queued",
    }
    assert bouncing.run(timezone.now()) == 0


def test_what_comes_back_is_what_the_sender_asked_for(account: Account, hop: NextHop) -> None:
    outbound(account)
    body = b"\r\nShall we?\r\n"
    for ret in ("FULL", "HDRS", ""):
        given_up(hop, ret=ret, data=HEADER + body)
    huge = given_up(hop, ret="FULL", data=HEADER + b"\r\n" + b"Shall we?\r\n" * 50_000)
    assert bouncing.run(timezone.now()) == 4
    reports = Message.objects.filter(report="failure").order_by("pk")
    assert [b"Shall we?" in bytes(report.content.data) for report in reports] == [True, False, False, False]
    assert huge.size > 256 * 1024


def test_a_person_may_give_mail_up_before_its_time(account: Account, hop: NextHop) -> None:
    outbound(account)
    given_up(hop, reply="450 4.2.2 Full")
    assert bouncing.run(timezone.now()) == 1
    text = bytes(Message.objects.get(report="failure").content.data).decode()
    assert "given up by the administrators" in text
    assert "Status: 5.0.0" in text


def test_a_report_that_fails_itself_is_not_told_to_anybody(
    smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    outbound(account, smart_host)
    smart_host.reply("rcpt", "550 5.1.1 No such sender")
    given_up(hop)
    bouncing.run(timezone.now())
    report = Message.objects.get(report="failure")
    with running_courier():
        eventually(lambda: final(report) == {"sender@outside.example": "expired"}, "the report refused")
    assert bouncing.run(timezone.now()) == 0
    assert final(report) == {"sender@outside.example": "rejected"}
    assert Message.objects.count() == 2


def test_people_of_the_account_are_told_by_the_inbound_route(
    server: MailServer, account: Account, hop: NextHop
) -> None:
    route = outbound(account)
    away = NextHop.objects.create(route=route, domain="outside.example", state_since=timezone.now())
    given_up(away, "eve@outside.example", sender="Anna@ACME.example", authentic=None)
    assert bouncing.run(timezone.now()) == 1
    (report,) = arrived(server)
    assert report.recipients == ("Anna@ACME.example",)
    assert hop.recipients.get().state == "delivered"


def test_without_an_outbound_route_a_bounce_waits_for_one(
    smart_host: MailServer, account: Account, hop: NextHop
) -> None:
    message, null = given_up(hop), given_up(hop, sender="")
    now = timezone.now()
    assert bouncing.run(now) == 0
    assert final(message) == {"somebody@acme.example": "expired"}
    assert final(null) == {"somebody@acme.example": "rejected"}, "nobody need be told"
    outbound(account, smart_host)
    assert bouncing.run(now) == 0
    assert bouncing.look_again(account.pk, now) == 1
    assert bouncing.run(now) == 1
    other = given_up(hop)
    other.recipients.update(next_attempt_at=now + LOOK_AGAIN)
    assert bouncing.run(now + LOOK_AGAIN) == 1, "it is looked for now and then, too"


def test_two_bouncers_at_once_make_one_report(account: Account, hop: NextHop) -> None:
    outbound(account)
    messages = [given_up(hop, "a@acme.example", "b@acme.example") for _ in range(120)]
    now, barrier, written = timezone.now(), threading.Barrier(3), []

    def bounce() -> None:
        try:
            barrier.wait(10)
            written.append(bouncing.run(now))
        finally:
            connection.close()

    threads = [threading.Thread(target=bounce) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    bouncing.run(now)
    assert len(written) == 3
    assert Message.objects.filter(report="failure").count() == len(messages)
    assert Message.objects.filter(report="failure").values("report_of").distinct().count() == len(messages)
    assert set(Recipient.objects.filter(next_hop=hop).values_list("state", flat=True)) == {"bounced"}
    balance = reconcile_account(account.pk)
    assert balance.balanced
    assert (balance.accepted, balance.bounced, balance.waiting) == (360, 240, 120), "reports are mail, too"
    assert reconcile(Scope(account.pk)).problems == ()


def test_killed_amid_the_reports_each_is_still_made_once(
    account: Account, hop: NextHop, database_url: str, tmp_path: Path
) -> None:
    outbound(account)
    for _ in range(200):
        given_up(hop)
    code = "from delivery.services import bouncing; from django.utils import timezone\n"
    code += "while True: bouncing.run(timezone.now())"
    reports = Message.objects.filter(report="failure")
    with Processes(tmp_path, DATABASE_URL=database_url) as processes:
        bouncer = processes.manage("bouncer", "shell", "--no-imports", "-c", code)
        eventually(lambda: reports.exists() or not bouncer.alive, "the first reports", 20)
        assert bouncer.alive
        bouncer.kill()
    bouncing.run(timezone.now())
    assert reports.count() == reports.values("report_of").distinct().count() == 200
    assert states(hop) == {"bounced": 200}


def test_a_batch_costs_the_same_however_many_messages(account: Account, hop: NextHop) -> None:
    outbound(account)

    def queries(count: int) -> int:
        for place in range(count):
            given_up(hop, sender=f"a@d{place}.example")
        with CaptureQueriesContext(connection) as captured:
            assert bouncing.bounce_due(timezone.now())[1] == count
        return len(captured)

    queries(2)
    assert queries(40) == queries(2) + 2, "new next hops are made in one go"
    with CaptureQueriesContext(connection) as captured:
        assert bouncing.bounce_due(timezone.now()) == (0, 0)
    assert len(captured) == 1


def test_a_message_on_which_our_own_code_fails_keeps_no_other_waiting(
    account: Account, hop: NextHop, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbound(account)
    poison, fine = given_up(hop, subject="poison"), given_up(hop)
    build = bounces.build

    def fails_on_poison(report: Report) -> Built:
        if report.subject == "poison":
            raise RecursionError
        return build(report)

    monkeypatch.setattr(bounces, "build", fails_on_poison)
    assert bouncing.run(timezone.now()) == 1
    assert (final(poison), final(fine)) == (
        {"somebody@acme.example": "quarantined"},
        {"somebody@acme.example": "bounced"},
    )
