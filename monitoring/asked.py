"""A test of a monitor in words: what each check came to, with the server's words and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from delivery.routetest.steps import Stage
from delivery.routetest.words import STAGES
from monitoring.models import Monitor, Probe
from monitoring.services.testing import unfinished


@dataclass(frozen=True)
class Shown:
    """One check of a test. `state` is what it came to or "open"; `stage` how far it got, `ms` in how long.

    `words` are the server's; `came` says how the round ended, in our words; `advice` what to do.
    """

    probe: Probe
    state: str
    word: str
    stage: str = ""
    ms: int = 0
    came: str = ""
    advice: str = ""

    @property
    def name(self) -> str:
        return self.probe.get_kind_display()

    @property
    def colour(self) -> str:
        return {"ok": "green", "failed": "red", "interrupted": "amber"}.get(self.state, "grey")

    @property
    def is_inbound(self) -> bool:
        return self.probe.kind == Probe.Kind.TEST_INBOUND


def shown(probe: Probe, monitor: Monitor, now: datetime) -> Shown:
    """What is known of one check at `now`."""
    if probe.finished_at is None and probe.arrived_at is None:
        if unfinished(probe, now):
            return Shown(probe, "open", _("Running") if probe.claim else _("Waiting for its turn"))
        return Shown(probe, "interrupted", _("Interrupted"), advice=_interrupted(probe))
    stage = {"connect": Stage.TCP, "data": Stage.MESSAGE}.get(probe.stage) or Stage(probe.stage or "message")
    passed = (probe.finished_at or now) - probe.started_at
    ended = Shown(
        probe, "failed", _("Failed"), str(STAGES[stage]), max(0, round(passed / timedelta(milliseconds=1)))
    )
    if probe.kind == Probe.Kind.TEST_OUTBOUND:
        return _round_trip(ended, probe, monitor, now)
    if probe.ok:
        return replace(ended, state="ok", word=_("Passed"))
    return replace(ended, advice=_("The route's own test says step by step what to do about it."))


def _interrupted(probe: Probe) -> str:
    if probe.claim:
        return _("Whoever ran this test is gone, probably by a restart. Test again.")
    return _(
        "No worker took this test up in time. Check that the worker of the queue “checks” runs, "
        "then test again."
    )


def _round_trip(ended: Shown, probe: Probe, monitor: Monitor, now: datetime) -> Shown:
    if probe.ok is False and not probe.arrived_at:
        return replace(
            ended, advice=_("The mail server did not take the probe. Compare its words with the settings.")
        )
    latency = timedelta(seconds=monitor.outbound_latency_seconds)
    on_its_way = (probe.arrived_at or now) - probe.started_at
    facts = {"seconds": f"{max(0.0, on_its_way.total_seconds()):.1f}", "most": latency.seconds}
    if probe.arrived_at and on_its_way <= latency:
        came = _("It arrived at this gateway after %(seconds)s s.") % facts
        return replace(ended, state="ok", word=_("Passed"), came=came)
    if probe.arrived_at:
        return replace(
            ended,
            came=_("It arrived after %(seconds)s s, more than the acceptable %(most)s s.") % facts,
            advice=_("Mail leaves slowly. Look at the mail server's queue, or accept a longer latency."),
        )
    if on_its_way <= latency:
        return replace(
            ended, state="open", word=_("On its way"), came=_("Handed in, and on its way to this gateway.")
        )
    return replace(
        ended,
        came=_("It did not arrive within %(most)s s.") % facts,
        advice=_(
            "The mail server took it, and it never came. Look for %(address)s in the mail server's queue and "
            "log: it must be able to send there."
        )
        % {"address": monitor.sink.address if monitor.sink else ""},
    )
