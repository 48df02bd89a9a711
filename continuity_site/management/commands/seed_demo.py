"""Makes the demo account, and mail in it if wanted."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import Account
from continuity_site import seed
from continuity_site.seed_messages import seed_messages

TELL_SECONDS = 5.0


class Command(BaseCommand):
    help = (
        "Make the demo account “Example Ltd”, or complete it. Running it twice changes nothing, "
        "but --messages adds that many invented messages of the last 30 days each time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--messages", type=int, default=0, help="invented messages to add, such as 1000000"
        )

    def handle(self, *_: Any, messages: int, **__: Any) -> None:
        if messages < 0:
            raise CommandError("--messages is a number of messages, 0 or more.")
        account = seed.seed()
        user, password = seed.sign_in()
        if messages:
            self._messages(account, messages)
        self.stdout.write(f"The demo account is there. Sign in as {user} with password {password}.")

    def _messages(self, account: Account, messages: int) -> None:
        began = told = time.monotonic()

        def progress(done: int) -> None:
            nonlocal told
            if done == messages or time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                self.stdout.write(f"{done} of {messages} messages, {done / (told - began):.0f} a second")
                self.stdout.flush()

        try:
            seed_messages(account, messages, timezone.now(), progress)
        except ValueError as error:
            raise CommandError(str(error)) from error
