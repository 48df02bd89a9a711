"""`manage.py test_route <route id>`: the test of a route, here and now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import AuditEntry
from accounts.services import Actor, Refused
from delivery.models import Route, RouteTest
from delivery.routetest.runner import run_host
from delivery.routetest.words import shown_hosts, state_words
from delivery.services import route_tests


class Command(BaseCommand):
    help = "Tests a route step by step. Exit code 0: every host passed, perhaps with remarks; 1: one failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("route", type=int, help="primary key of the route, as in its page's address")
        parser.add_argument("--recipient", default="", help="whom to ask for; postmaster of the first domain")
        parser.add_argument("--message", action="store_true", help="send a real test message")

    def handle(self, *args: Any, **options: Any) -> None:
        route = Route.objects.filter(pk=options["route"]).first()
        if route is None:
            known = ", ".join(f"{pk} ({name})" for pk, name in Route.objects.values_list("pk", "name"))
            raise CommandError(f"There is no route {options['route']}. Routes: {known or 'none'}.")
        recipient = options["recipient"] or route_tests.usual_recipient(route)
        actor = Actor(AuditEntry.By.SCHEDULER, "manage.py test_route")
        try:
            test = route_tests.start(route, actor, recipient, send_message=options["message"], here=True)
        except Refused as refused:
            raise CommandError(str(refused)) from None
        following: int | None = 0
        while following is not None:
            following = run_host(test.pk, following)
        test.refresh_from_db()
        failed = self._tell(test)
        if failed:
            raise SystemExit(1)

    def _tell(self, test: RouteTest) -> bool:
        failed = False
        for host in shown_hosts(test):
            failed |= host.colour == "red"
            self.stdout.write(f"{host.name}: {host.word}")
            for step in host.steps:
                self.stdout.write(f"  {step.name:<14} {step.word:<14} {step.ms:>6} ms  {step.said}".rstrip())
                for name, value in step.facts:
                    self.stdout.write(f"{'':17}{name}: {value}")
                if step.advice:
                    self.stdout.write(f"{'':17}{step.advice}")
        self.stdout.write(state_words(test, timezone.now())[1])
        return failed or not test.steps
