"""Reads every audit row again and says whether the chain is whole."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from accounts.models import Account


class Command(BaseCommand):
    help = (
        "Verify the hash chain of the audit: no number missing, every row as it was written. Says the first "
        "wrong row and exits with 1. Rows cut off at the end leave a whole chain: keep the printed "
        "NUMBER:HASH elsewhere, and give it to --expect next time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", metavar="SLUG", help="only this account")
        parser.add_argument("--expect", metavar="NUMBER:HASH", help="this row must still be there")

    def handle(self, *_: Any, account: str | None, expect: str | None, **__: Any) -> None:
        accounts = list(Account.objects.order_by("slug"))
        if account is not None:
            accounts = [one for one in accounts if one.slug == account]
            if not accounts:
                raise CommandError(f"There is no account “{account}”.")
        expected = None
        if expect is not None:
            if len(accounts) != 1:
                raise CommandError("--expect is about one account: name it by --account.")
            expected = _expected(expect)
        # Not `all(...)`: every account is read, and said.
        whole = [self._verify(one, expected) for one in accounts]
        guarded = audit.is_guarded()
        if not guarded:
            self.stdout.write("WRONG: the triggers that refuse changes to audit rows are missing.")
        if not guarded or not all(whole):
            sys.exit(1)

    def _verify(self, account: Account, expected: tuple[int, str] | None) -> bool:
        began = time.monotonic()
        found = audit.verify(account.pk, expected)
        took = max(time.monotonic() - began, 0.001)
        if found.wrong:
            self.stdout.write(f"{account.slug}: WRONG: {found.wrong}. Whole up to row {found.number}.")
        else:
            self.stdout.write(
                f"{account.slug}: whole, {found.rows} rows, {found.rows / took:.0f} a second. "
                + (f"Last: {found.number}:{found.hash}" if found.rows else "Nothing is there.")
            )
        return not found.wrong


def _expected(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise CommandError("--expect takes what this command prints after “Last:”, in full.")
    return int(match[1]), match[2]
