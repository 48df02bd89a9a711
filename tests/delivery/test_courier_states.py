"""A dead route is one fact, recovery is gradual, and nothing is given up or lost on the way."""

from __future__ import annotations

import itertools
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Account, AuditEntry
from delivery.models import Attempt, KnownRecipient, NextHop, Pause, Recipient
from delivery.rules import Outcome, Verdict
from delivery.services import claims, hops, sending
from tests.support.couriers import (
    all_delivered,
    eventually,
    make_hop,
    queue,
    queue_many,
    running_courier,
    states,
)
from tests.support.mailserver import MailServer

pytestmark = pytest.mark.django_db(transaction=True)


def state_of(hop: NextHop) -> str:
    hop.refresh_from_db()
    return hop.state


def audited() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("action", flat=True))


def test_the_whole_way_down_and_up_again(server: MailServer, hop: NextHop) -> None:
    server.stop()
    ids = queue_many(hop, 60)
    with running_courier():
        eventually(lambda: state_of(hop) == "down", "down")
        assert "refused" in hop.last_reply.lower() or "connect" in hop.last_reply.lower()
        server.start()
        eventually(all_delivered, "drained")
        eventually(lambda: state_of(hop) == "up", "up")
    assert server.count_by_message_id() == dict.fromkeys(ids, 1)
    assert audited() == ["route.down", "route.recovering", "route.up"]
    assert AuditEntry.objects.get(action="route.down").details["reply"]
    failures = Attempt.objects.filter(result="host_failure")
    assert failures.exists()
    assert set(Recipient.objects.values_list("attempts", flat=True)) == {1}, "failures used up attempts"


def test_while_down_one_message_is_tried_at_a_time_and_the_others_are_left_alone(
    server: MailServer, hop: NextHop
) -> None:
    server.reply("mail", "451 4.3.0 Not now")
    queue_many(hop, 200)
    with running_courier():
        eventually(lambda: state_of(hop) == "down", "down")
        before = Attempt.objects.count()
        eventually(lambda: Attempt.objects.count() >= before + 3, "three canaries")
        assert states().get("sending", 0) <= 1
    assert Attempt.objects.values("recipient").distinct().count() < 200
    assert states() == {"queued": 200}


def test_looking_for_work_costs_the_same_however_long_the_queue(hop: NextHop) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            claims.flowing(timezone.now(), hops.Memory())
            for envelope in claims.claim(hop.pk, "me", 1, timezone.now()):
                claims.release(envelope.recipient_ids, "me")
        return len(captured)

    NextHop.objects.update(state="down", state_since=timezone.now())
    queue_many(hop, 2)
    few = queries()
    queue_many(hop, 500)
    assert queries() == few


def test_a_message_at_which_the_host_fails_does_not_hold_up_the_others(
    server: MailServer, hop: NextHop
) -> None:
    server.reply("mail", "452 4.3.1 This one breaks me", to="broken@")
    poison = queue(hop, "poison@acme.example", sender="broken@outside.example")
    with running_courier():
        eventually(lambda: state_of(hop) == "down", "down")
        queue_many(hop, 20)
        eventually(lambda: states() == {"queued": 1, "delivered": 20}, "the others delivered")
    assert poison.recipients.get().state == "queued"


def test_recovering_begins_with_one_connection_and_alternates_with_new_mail(account: Account) -> None:
    now = timezone.now()
    with MailServer() as server:
        hop = make_hop(account, server)
        NextHop.objects.update(state="recovering", connections=1, backlog_before=now, state_since=now)
        old = [queue(hop, at=now - timedelta(hours=1)).pk for _ in range(4)]
        new = [queue(hop).pk for _ in range(4)]
        found = [envelope.message_id for envelope in claims.claim(hop.pk, "me", 6, timezone.now())]
    assert found == list(itertools.chain(*zip(old[:3], new[:3], strict=True)))


def test_a_server_restored_half_way_refuses_real_people_and_nobody_is_given_up(
    server: MailServer, hop: NextHop
) -> None:
    server.stop()
    queue_many(hop, 10)
    with running_courier():
        eventually(lambda: state_of(hop) == "down", "down")
        server.reply("rcpt", "550 5.1.1 No such user", to="user3@")
        server.start()
        eventually(lambda: states() == {"delivered": 9, "queued": 1}, "one put off")
    refused = Recipient.objects.get(state="queued")
    assert timedelta() < refused.next_attempt_at - timezone.now() <= timedelta(minutes=15)
    assert Attempt.objects.filter(result="refused").count() == 1


def test_three_known_recipients_refused_make_the_route_suspect(server: MailServer, hop: NextHop) -> None:
    server.reply("rcpt", "550 5.1.1 No such user")
    domain = hop.route.account.domains.get()
    for place in range(6):
        KnownRecipient.objects.create(domain=domain, address=f"user{place}@acme.example", source="imported")
    hop.route.max_connections = 1
    hop.route.save()
    queue_many(hop, 6)
    with running_courier():
        eventually(lambda: Attempt.objects.count() >= 6, "all tried")
        eventually(lambda: state_of(hop) == "suspect", "suspect")
        server.behave()
        Recipient.objects.filter(state="queued").update(next_attempt_at=timezone.now())
        eventually(lambda: state_of(hop) == "up", "up again")
    assert audited() == ["route.suspect", "route.up"]
    assert states()["delivered"] >= 4


def test_mail_past_its_limit_gets_a_last_attempt_and_is_then_due_for_a_bounce(
    server: MailServer, hop: NextHop
) -> None:
    server.reply("rcpt", "450 4.2.2 Mailbox full", to="full@")
    long_ago = timezone.now() - timedelta(hours=97)
    queue(hop, "full@acme.example", at=long_ago)
    queue(hop, "fine@acme.example", at=long_ago)
    with running_courier():
        eventually(lambda: states() == {"expired": 1, "delivered": 1}, "one given up")
    assert Recipient.objects.get(state="expired").last_reply == "450 4.2.2 Mailbox full"


def test_while_down_mail_is_given_up_only_after_a_failure_past_its_limit(hop: NextHop) -> None:
    now = timezone.now()
    queue(hop, at=now - timedelta(hours=97))
    queue(hop, at=now - timedelta(hours=95))
    NextHop.objects.update(state="down", last_failure_at=now - timedelta(hours=2), last_reply="gone")
    assert sending.expire_due(now) == 0
    NextHop.objects.update(last_failure_at=now)
    NextHop.objects.update(state="recovering")
    assert sending.expire_due(now) == 0
    NextHop.objects.update(state="down")
    pause = Pause.objects.create(
        account=hop.route.account, started_at=now - timedelta(hours=3), started_by="somebody"
    )
    assert sending.expire_due(now) == 0
    pause.ended_at = now
    pause.save()
    assert sending.expire_due(now) == 0, "three hours of pause do not count"
    pause.delete()
    assert sending.expire_due(now) == 1
    assert states() == {"expired": 1, "queued": 1}
    assert Recipient.objects.get(state="expired").last_reply == "gone"


def test_a_result_that_comes_after_the_lease_ran_out_still_counts_as_delivered(hop: NextHop) -> None:
    message = queue(hop)
    now = timezone.now()
    (envelope,) = claims.claim(hop.pk, "dead", 5, now)
    assert claims.claim(hop.pk, "other", 5, now) == []
    assert claims.free_abandoned(now + timedelta(minutes=4)) == 0
    claims.renew(envelope.recipient_ids, "dead", now + timedelta(minutes=4))
    assert claims.free_abandoned(now + timedelta(minutes=8)) == 0
    assert claims.free_abandoned(now + timedelta(minutes=10)) == 1
    (again,) = claims.claim(hop.pk, "other", 5, now)
    recipient = message.recipients.get()
    done = sending.Transaction(
        hop.pk,
        outcomes=(Outcome(recipient.pk, recipient.address, Verdict.DELIVERED, "end", 250),),
    )
    sending.record([done], "dead", now, hops.Memory())
    assert states() == {"delivered": 1}
    assert claims.release(again.recipient_ids, "other") == 0


def test_the_demo_story_takes_seconds(account: Account, server: MailServer) -> None:
    hop = make_hop(account, server, canary_first_seconds=0.1, canary_max_seconds=0.1)
    queue_many(hop, 5)
    started = time.monotonic()
    server.stop()
    with running_courier():
        eventually(lambda: state_of(hop) == "down", "down")
        server.start()
        eventually(all_delivered, "delivered")
        eventually(lambda: state_of(hop) == "up", "up")
    assert time.monotonic() - started < 8
