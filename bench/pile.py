"""Run in the environment of a database: `fill N` queues N small messages, `ask` times questions (JSON)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import django

BATCH = 5000


def fill(number: int) -> None:
    """By the gateway's own service, an hour of mail for each 1/96 of them, so that ages differ."""
    from django.utils import timezone

    from delivery.models import NextHop
    from delivery.services import NewMessage, NewRecipient, accept

    hop = NextHop.objects.get()
    start = timezone.now() - timedelta(hours=90)
    data = b"From: bob@else.example\r\nSubject: bench\r\n\r\n" + (b"x" * 78 + b"\r\n") * 4
    for first in range(0, number, BATCH):
        accept(
            [
                NewMessage(
                    account_id=hop.route.account_id,
                    sender=f"bob{n % 977}@else.example",
                    data=data,
                    recipients=[NewRecipient(f"person{n % 1000}@bench.test", hop.pk)],
                    client_address="127.0.0.1",
                    message_id=f"<{n}.bench@else.example>",
                    subject=f"Message {n}",
                )
                for n in range(first, min(first + BATCH, number))
            ],
            now=start + timedelta(hours=90) * (first / number),
        )


def ask() -> None:
    from django.test import Client
    from django.urls import reverse
    from django.utils import timezone

    from accounts.models import Account, User
    from delivery.models import NextHop
    from delivery.services import claims

    account = Account.objects.get()
    hop = NextHop.objects.get()
    if hop.recipients.filter(state="queued").count() < 100:
        os.system(f"{sys.executable} -m bench.fill 500 >/dev/null")

    def claim() -> None:
        found = claims.claim(hop.pk, "bench", 100, timezone.now())
        claims.release([pk for one in found for pk in one.recipient_ids], "bench")

    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]
    user, _ = User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)
    client = Client()
    client.force_login(user)

    def page(name: str) -> Callable[[], object]:
        def get() -> None:
            answer = client.get(reverse(name), follow=True)
            assert answer.status_code == 200, answer.status_code

        return get

    assert account
    figures = {
        "claim of 100, ms": _time(claim),
        "queue page, ms": _time(page("queue")),
        "dashboard, ms": _time(page("dashboard")),
    }
    print(json.dumps(figures))


def _time(work: Callable[[], object], times: int = 5) -> float:
    work()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)[times // 2]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "continuity_site.settings")
    django.setup()
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        ask()
