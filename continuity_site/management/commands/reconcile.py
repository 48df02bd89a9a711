"""Whether the books of mail balance: status 0 when they do, 1 when they do not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import Account
from delivery.reads import Balance, Books, Scope, reconcile, reconcile_days
from events.books import span
from events.models import ContinuityEvent


class Command(BaseCommand):
    help = (
        "Reconcile accepted mail: all of it is delivered, bounced, rejected or still here, and nothing "
        "stored contradicts that. Ends with status 1, and with the list, when it does not balance."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="the account's short name (slug); without it all")
        parser.add_argument("--day", help="what was accepted on a day in UTC, such as 2026-03-01")
        parser.add_argument("--days", action="store_true", help="also a line for each day in UTC")
        parser.add_argument("--event", type=int, help="the mail of a continuity event, by its number")
        parser.add_argument("--json", action="store_true", help="one JSON object for each account")

    def handle(self, *_: Any, **options: Any) -> None:
        balanced = True
        for name, scope in _scopes(options):
            began = time.monotonic()
            books = reconcile(scope)
            days = reconcile_days(scope) if options["days"] else []
            seconds = time.monotonic() - began
            balanced &= books.balanced and all(day.balance.balanced for day in days)
            if options["json"]:
                self._tell_json(name, books, [(str(day.day), day.balance) for day in days])
            else:
                self._tell(name, books, [(str(day.day), day.balance) for day in days], seconds)
        if not balanced:
            sys.exit(1)

    def _tell(self, name: str, books: Books, days: list[tuple[str, Balance]], seconds: float) -> None:
        for day, balance in days:
            self.stdout.write(f"{name} {day}: {_words(balance)}")
        self.stdout.write(f"{name}: {_words(books.balance)} ({seconds:.1f} s)")
        if books.duplicates:
            self.stdout.write(_listed("  duplicates, which do not count against the books", books.duplicates))
        if books.repeated_message_ids:
            self.stdout.write(f"  {books.repeated_message_ids} Message-IDs were accepted more than once")
        for problem in books.problems:
            self.stdout.write(self.style.ERROR(_listed("  WRONG", problem)))
        if books.balanced:
            self.stdout.write("  The books balance.")
        else:
            self.stdout.write(self.style.ERROR("  The books do not balance."))

    def _tell_json(self, name: str, books: Books, days: list[tuple[str, Balance]]) -> None:
        found = {
            "account": name,
            "balanced": books.balanced,
            "balance": asdict(books.balance),
            "problems": [_plain(problem) for problem in books.problems],
            "duplicates": _plain(books.duplicates) if books.duplicates else None,
            "repeated_message_ids": books.repeated_message_ids,
            "days": {day: asdict(balance) for day, balance in days},
        }
        self.stdout.write(json.dumps(found))


def _scopes(options: dict[str, Any]) -> Iterator[tuple[str, Scope]]:
    """What is asked for, by account. Raises CommandError."""
    accounts = Account.objects.order_by("pk")
    if options["account"]:
        accounts = accounts.filter(slug=options["account"])
        if not accounts:
            raise CommandError(f"There is no account “{options['account']}”.")
    if options["event"]:
        event = ContinuityEvent.objects.filter(pk=options["event"], account__in=accounts).first()
        if event is None:
            raise CommandError(f"There is no event {options['event']}.")
        yield event.account.slug, span(event, timezone.now()).scope(event.account_id)
        return
    try:
        day = date.fromisoformat(options["day"]) if options["day"] else None
    except ValueError:
        raise CommandError(f"“{options['day']}” is not a day. Write it as 2026-03-01.") from None
    for account in accounts:
        yield account.slug, Scope.day(account.pk, day) if day else Scope(account.pk)


def _words(balance: Balance) -> str:
    return (
        f"{balance.accepted} accepted = {balance.delivered} delivered + {balance.bounced} bounced "
        f"+ {balance.rejected} rejected + {balance.waiting} still here"
        + ("" if balance.balanced else ": DOES NOT ADD UP")
    )


def _listed(label: str, problem: Any) -> str:
    more = ", …" if problem.number > len(problem.examples) else ""
    return f"{label}: {problem.number} × {problem.what}: {', '.join(problem.examples)}{more}"


def _plain(problem: Any) -> dict[str, object]:
    return {"what": str(problem.what), "number": problem.number, "examples": list(problem.examples)}
