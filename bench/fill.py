"""Run in the environment of a database: queue messages of 10 KB, by the gateway's own service."""

from __future__ import annotations

import os
import sys

import django


def main(messages: int) -> None:
    from delivery.models import NextHop
    from delivery.services import NewMessage, NewRecipient, accept

    hop = NextHop.objects.get()
    data = b"From: bob@else.example\r\nSubject: bench\r\n\r\n" + (b"x" * 78 + b"\r\n") * 128
    new = NewMessage(
        account_id=hop.route.account_id,
        sender="bob@else.example",
        data=data,
        recipients=[NewRecipient("anna@bench.test", hop.pk)],
        client_address="127.0.0.1",
    )
    for _ in range(messages // 500):
        accept([new] * 500)
    accept([new] * (messages % 500))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "continuity_site.settings")
    django.setup()
    main(int(sys.argv[1]))
