"""What tests of routes found."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_stubs_ext.db.models import TypedModelMeta

from delivery.models.routes import Route


class RouteTest(models.Model):
    """A test of a route that somebody asked for, host by host, with what each step found.

    Whoever runs it claims the next host by a conditional update of `next_host`, and writes `steps` alone.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for its turn")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")

    class Result(models.TextChoices):
        OK = "ok", _("Passed")
        WARNING = "warning", _("Passed, with remarks")
        FAILED = "failed", _("Failed")

    route = models.ForeignKey(Route, models.CASCADE, related_name="tests")
    asked_at = models.DateTimeField()
    asked_by = models.CharField(max_length=120)
    recipient = models.CharField(max_length=320)
    send_message = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    until = models.DateTimeField(
        help_text=_("Not waiting or running after this instant, but interrupted: whoever ran it is gone.")
    )
    host_ids = models.JSONField(default=list, help_text=_("The route's hosts as they were, in order."))
    next_host = models.PositiveSmallIntegerField(default=0, help_text=_("Index of the next to be tested."))
    steps = models.JSONField(default=list)
    result = models.CharField(max_length=8, choices=Result, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    arrived_at = models.DateTimeField(
        null=True, blank=True, help_text=_("When a person confirmed that the test message arrived.")
    )
    arrived_by = models.CharField(max_length=120, blank=True)

    class Meta(TypedModelMeta):
        indexes = [models.Index(fields=["route", "id"], name="route_test_history")]

    def __str__(self) -> str:
        return f"test {self.pk} of {self.route}"

    def interrupted(self, now: datetime) -> bool:
        """Whether it will never end: nobody took it up, or the worker that ran it is gone."""
        return self.state != self.State.DONE and now > self.until
