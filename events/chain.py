"""Who is told of an outage of a monitor, step by step, for pages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from accounts.models import Account, Contact
from events import rules
from events.services import escalation
from monitoring.models import Monitor
from notifications.reads import Reachability, reachability


@dataclass(frozen=True)
class Rung:
    """Those who are told at the same time: so long after an outage opens, if nobody has seen it by then."""

    step: int
    after: timedelta
    contacts: tuple[Reachability, ...]


def chains(
    account: Account, monitors: Collection[Monitor], contacts: Collection[Reachability]
) -> dict[int, list[Rung]]:
    """The steps of each monitor, by its number, given all contacts. At most three queries."""
    everybody = [one for one in contacts if one.contact.active]
    named: dict[int, set[int]] = {monitor.pk: set() for monitor in monitors}
    chosen = Monitor.contacts.through._default_manager.filter(monitor__in=list(named))
    for monitor_id, contact_id in chosen.values_list("monitor", "contact"):
        named[monitor_id].add(contact_id)
    steps = escalation.steps_of(list(named))
    wait = escalation.step_wait(account.pk) if steps else timedelta()
    found = {}
    for monitor_id, ids in named.items():
        told = [one for one in everybody if one.contact.pk in ids] or everybody
        by_step: dict[int, list[Reachability]] = {}
        for one in told:
            by_step.setdefault(steps.get((monitor_id, one.contact.pk), 1), []).append(one)
        reached = [step for step, group in by_step.items() if any(one.has_usable_point for one in group)]
        found[monitor_id] = [
            Rung(step, (rules.rank(step, reached) - 1) * wait, tuple(by_step[step]))
            for step in sorted(by_step)
        ]
    return found


def chain(monitor: Monitor) -> list[Rung]:
    """The steps of one monitor."""
    return chains(monitor.account, [monitor], reachability(monitor.account))[monitor.pk]


def told_by(monitor: Monitor) -> list[Contact]:
    """The contacts that a monitor tells, whatever their step."""
    return [one.contact for rung in chain(monitor) for one in rung.contacts]
