"""Run in the environment of a database: people, and a notice to all of them that is started."""

from __future__ import annotations

import os
import sys

import django


def main(people: int, channel: str) -> None:
    from django.utils import timezone

    from accounts.models import Account, Person
    from accounts.services import SCHEDULER
    from notifications.bulk import decisions
    from notifications.bulk.models import Notice

    account = Account.objects.get(slug="bench")
    Person.objects.filter(account=account).delete()
    Person.objects.bulk_create(
        Person(
            account=account,
            name=f"Person {n}",
            address=f"person{n}@bench.test",
            alternate_address=f"person{n}@elsewhere.example",
            phone=f"+49151{n:08}",
        )
        for n in range(people)
    )
    notice = Notice.objects.create(
        account=account,
        subject="Our mail server is being repaired",
        text="Use https://mail.example.org until further notice.\n\n" + "It works as you know it. " * 20,
        sms_text="Our mail server is being repaired. Use https://mail.example.org until further notice.",
        way=channel,
        everybody=True,
        made_at=timezone.now(),
    )
    decisions.start(account.pk, SCHEDULER, notice.pk)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "continuity_site.settings")
    django.setup()
    main(int(sys.argv[1]), sys.argv[2])
