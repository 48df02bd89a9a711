"""Invented mail: as much as was asked for, in books that balance, only where it belongs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from accounts.models import Account
from continuity_site.seed import seed
from continuity_site.seed_messages import DAYS, seed_messages
from delivery.models import Attempt, Message, MessageContent, Recipient
from delivery.reads import Scope, reconcile

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 12, 15, tzinfo=UTC)


@pytest.fixture
def demo(settings: Settings, tmp_path: Path) -> Account:
    settings.DATA_DIR = tmp_path
    return seed()


def test_thirty_days_of_mail_whose_books_balance(demo: Account) -> None:
    told: list[int] = []
    seed_messages(demo, 9000, NOW, told.append)

    taken = Message.objects.filter(report="")
    assert told[-1] == taken.count() == 9000
    accepted = taken.order_by("pk").values_list("accepted_at", flat=True)
    assert list(accepted) == sorted(accepted)
    assert NOW - timedelta(days=DAYS) <= accepted[0]
    assert NOW - timedelta(days=1) < accepted.reverse()[0] < NOW
    states = set(Recipient.objects.values_list("state", flat=True))
    assert states >= {"delivered", "queued", "bounced", "rejected", "expired"}
    books = reconcile(Scope(demo.pk))
    assert books.balanced, books.problems
    assert books.balance.waiting >= 20
    assert not Attempt.objects.filter(at__gt=NOW).exists()


def test_contents_are_small_and_there_where_they_would_still_be(demo: Account) -> None:
    seed_messages(demo, 3000, NOW)
    assert not MessageContent.objects.filter(message__accepted_at__lt=NOW - timedelta(days=8)).exclude(
        message__recipients__state__in=Recipient.WAITING
    )
    for message in Message.objects.filter(content__isnull=False).select_related("content")[:200]:
        data = bytes(message.content.data)
        assert len(data) == message.size
        assert 300 <= len(data) <= 4000
        assert f"Subject: {message.subject}\r\n".encode() in data
        assert b"\n" not in data.replace(b"\r\n", b"")


def test_running_it_again_adds(demo: Account) -> None:
    out = StringIO()
    call_command("seed_demo", "--messages", "50", stdout=out)
    call_command("seed_demo", "--messages", "70", stdout=out)
    assert Message.objects.filter(report="").count() == 120
    assert "70 of 70 messages" in out.getvalue()
    assert reconcile(Scope(demo.pk)).balanced


def test_a_real_account_gets_no_invented_mail() -> None:
    real = Account.objects.create(name="Real", slug="real")
    with pytest.raises(ValueError, match="not a demo account"):
        seed_messages(real, 1, NOW)
    assert not Message.objects.exists()
