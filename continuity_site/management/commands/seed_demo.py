"""Makes the demo account, and mail in it if wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import Account
from continuity_site import seed
from continuity_site.seed_history import seed_history
from continuity_site.seed_messages import seed_messages

TELL_SECONDS = 5.0


class Command(BaseCommand):
    help = (
        "Make the demo account “Example Ltd”, or complete it. Running it twice changes nothing, "
        "but --messages adds that many invented messages of the last 30 days each time, and --history that "
        "many audit rows of the last three years."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--messages", type=int, default=0, help="invented messages to add, such as 1000000"
        )

        parser.add_argument(
            "--history", type=int, default=0, help="invented audit rows to add, with an event for each ten"
        )

    def handle(self, *_: Any, messages: int, history: int, **__: Any) -> None:
        if messages < 0 or history < 0:
            raise CommandError("--messages and --history are numbers of rows, 0 or more.")
        account = seed.seed()
        user, password = seed.sign_in()
        if messages:
            self._seed(seed_messages, account, messages, "messages")
        if history:
            self._seed(seed_history, account, history, "audit rows")
        self.stdout.write(f"The demo account is there. Sign in as {user} with password {password}.")

    def _seed(self, seed_rows: Callable[..., None], account: Account, number: int, what: str) -> None:
        began = told = time.monotonic()

        def progress(done: int) -> None:
            nonlocal told
            if done == number or time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self.stdout.write(f"{done} of {number} {what}, {done / (told - began):.0f} a second")
                self.stdout.flush()

        try:
            seed_rows(account, number, timezone.now(), progress)
        except ValueError as error:
            raise CommandError(str(error)) from error
