"""Makes the demo account."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from continuity_site import seed


class Command(BaseCommand):
    help = "Make the demo account “Example Ltd”, or complete it. Running it twice changes nothing."

    def handle(self, *_: Any, **__: Any) -> None:
        seed.seed()
        user, password = seed.sign_in()
        self.stdout.write(f"The demo account is there. Sign in as {user} with password {password}.")
