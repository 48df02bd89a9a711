"""Takes somebody's second factor away who lost phone and recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.services import SCHEDULER
from accounts.signin import second_factor


class Command(BaseCommand):
    help = (
        "Take the second factor and the recovery codes of a user away, and sign them out everywhere. "
        "Who needs one sets up a new one at the next sign-in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *_: Any, username: str, **__: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username}.")
        second_factor.remove(user, SCHEDULER)
        self.stdout.write(f"{username} has no second factor any more, and is signed out everywhere.")
