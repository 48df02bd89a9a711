"""What a courier holds, and what it holds without knowing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from delivery.models import Recipient
from delivery.services import claims
from tests.support.couriers import make_account, make_hop, queue

pytestmark = pytest.mark.django_db


def test_a_claim_whose_answer_was_lost_with_the_connection_is_free_after_a_minute() -> None:
    """The database took it, the courier never heard of it: living, it would have kept it for ever."""
    hop = make_hop(make_account())
    for _ in range(3):
        queue(hop)
    now = timezone.now()
    known, lost, foreign = (claims.claim(hop.pk, name, 1, now)[0] for name in ("me", "me", "you"))
    minute = timedelta(seconds=claims.RENEW_SECONDS)
    assert claims.renew(known.recipient_ids, "me", now + minute) == 0
    assert claims.renew(known.recipient_ids, "me", now + minute * 2) == 1
    states = dict(Recipient.objects.values_list("pk", "state"))
    (one,), (two,), (three,) = known.recipient_ids, lost.recipient_ids, foreign.recipient_ids
    assert states == {one: "sending", two: "queued", three: "sending"}
