"""A test in words, for the page and the command: what each step is, what it found, what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from delivery.models import RouteTest
from delivery.routetest.advice import advice
from delivery.routetest.steps import Result, Stage, Step

STAGES = {
    Stage.DNS: gettext_lazy("Name"),
    Stage.TCP: gettext_lazy("Connection"),
    Stage.BANNER: gettext_lazy("Greeting"),
    Stage.EHLO: gettext_lazy("EHLO"),
    Stage.STARTTLS: gettext_lazy("Encryption"),
    Stage.AUTH: gettext_lazy("Sign-in"),
    Stage.MAIL: gettext_lazy("Sender"),
    Stage.RCPT: gettext_lazy("Recipient"),
    Stage.MESSAGE: gettext_lazy("Test message"),
}
RESULTS = {
    Result.OK: gettext_lazy("passed"),
    Result.WARNING: gettext_lazy("remark"),
    Result.FAILED: gettext_lazy("failed"),
    Result.SKIPPED: gettext_lazy("not needed"),
}
COLOURS = {Result.OK: "green", Result.WARNING: "amber", Result.FAILED: "red", Result.SKIPPED: "grey"}


@dataclass(frozen=True)
class ShownStep:
    """One step as it is read. `facts` are (name, value)."""

    name: str
    colour: str
    word: str
    ms: int
    said: str
    advice: str
    facts: list[tuple[str, str]]
    plain: bool


@dataclass
class ShownHost:
    """One host and its steps; `open` while a step is still to come."""

    name: str
    steps: list[ShownStep] = field(default_factory=list)

    @property
    def colour(self) -> str:
        """Of the worst step."""
        found = {step.colour for step in self.steps}
        return next(one for one in ("red", "amber", "green", "grey") if one in found or one == "grey")

    @property
    def word(self) -> str:
        return {"red": _("Failed"), "amber": _("Passed, with remarks")}.get(self.colour, _("Passed"))

    @property
    def seconds(self) -> float:
        return sum(step.ms for step in self.steps) / 1000


def shown_hosts(test: RouteTest) -> list[ShownHost]:
    """The steps of a test by host, in order. A host's first step is its name, so that twins stay apart."""
    hosts: list[ShownHost] = []
    for raw in test.steps:
        step = Step(**raw)
        if step.stage == Stage.DNS:
            hosts.append(ShownHost(step.host))
        hosts[-1].steps.append(shown_step(step))
    return hosts


def shown_step(step: Step) -> ShownStep:
    """One step in words."""
    result = Result(step.result)
    word = str(RESULTS[result])
    if step.stage == Stage.AUTH and result == Result.SKIPPED:
        word = _("not configured")
    return ShownStep(
        name=str(STAGES[Stage(step.stage)]),
        colour=COLOURS[result],
        word=word,
        ms=step.ms,
        said=step.said,
        advice=advice(step.problem),
        facts=_facts(step.facts),
        plain=result in (Result.OK, Result.SKIPPED),
    )


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    named: dict[str, Callable[[Any], tuple[str, str]]] = {
        "literal": lambda value: (_("Address"), _("written in the route")),
        "mx_of": lambda value: (_("By the MX of"), value),
        "addresses": lambda value: (_("Addresses"), ", ".join(value)),
        "address": lambda value: (_("Reached"), value),
        "failed_addresses": lambda value: (_("No answer from"), ", ".join(value)),
        "extensions": lambda value: (_("Offers"), ", ".join(value)),
        "protocol": lambda value: (_("Protocol"), value),
        "names": lambda value: (_("Certificate for"), ", ".join(value)),
        "issuer": lambda value: (_("Issued by"), value),
        "days": lambda value: (_("Valid"), _valid(value, facts.get("expires", ""))),
        "chain": lambda value: (_("Chain"), " ← ".join(value)),
        "trusted": lambda value: (_("Trusted"), _("by this machine")),
        "username": lambda value: (_("User name"), value),
        "recipient": lambda value: (_("Asked for"), value),
        "message_id": lambda value: (_("Message-ID"), value),
    }
    return [named[name](value) for name, value in facts.items() if name in named and value not in ("", [])]


def _valid(days: int, expires: str) -> str:
    date = date_format(timezone.localtime(datetime.fromisoformat(expires)), "j M Y") if expires else ""
    if days < 0:
        return _("ended %(date)s") % {"date": date}
    words = ngettext("until %(date)s, %(days)s day left", "until %(date)s, %(days)s days left", days)
    return words % {"date": date, "days": days}


def state_words(test: RouteTest, now: datetime) -> tuple[str, str]:
    """Colour and word of a test as a whole."""
    if test.interrupted(now):
        return "amber", _("Interrupted")
    if test.state != RouteTest.State.DONE:
        return "grey", str(RouteTest.State(test.state).label)
    return COLOURS[Result(test.result)], str(RouteTest.Result(test.result).label)
