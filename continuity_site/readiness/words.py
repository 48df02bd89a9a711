"""What a finding says, what to do about it, and where."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from continuity_site.readiness.rules import Finding, Gap


@dataclass(frozen=True)
class ToDo:
    """One line of the page: what is missing, why it matters, where it is mended, and its points."""

    title: str
    why: str
    url: str
    action: str
    points: float

    @property
    def shown_points(self) -> int:
        """At least one, so that every line is worth something."""
        return max(1, round(self.points))

    @property
    def colour(self) -> str:
        return "red" if self.points >= 12 else "amber"


def told(finding: Finding) -> ToDo:
    """A finding in words."""
    title, why, url, action = _TOLD[finding.gap](finding)
    return ToDo(title, why, url, action, finding.points)


_Words = tuple[str, str, str, str]


def _contact(finding: Finding) -> str:
    return reverse("contact", args=[finding.id])


def _date(finding: Finding) -> str:
    return date_format(localtime(finding.at), "j M Y") if finding.at else ""


def _no_contact(_finding: Finding) -> _Words:
    why = _("When the mail server fails, nobody is told.")
    return _("There is no contact who is alerted"), why, reverse("contact-add"), _("Add a contact")


def _unreached(finding: Finding) -> _Words:
    title = _("%(name)s would not be reached") % {"name": finding.name}
    return title, _("No contact point is verified and can be used."), _contact(finding), _("Mend it")


def _one_channel(finding: Finding) -> _Words:
    title = _("%(name)s is reached by one channel only") % {"name": finding.name}
    why = _("When that provider fails together with the mail server, the alert does too.")
    return title, why, _contact(finding), _("Add another")


def _broken(finding: Finding) -> _Words:
    number = int(finding.number)
    title = ngettext(
        "%(n)s contact point of %(name)s cannot be used",
        "%(n)s contact points of %(name)s cannot be used",
        number,
    ) % {"n": number, "name": finding.name}
    why = _("Not verified, disabled, or without a way out.")
    return title, why, _contact(finding), _("Verify")


def _no_people(_finding: Finding) -> _Words:
    why = _("Notices during an outage reach nobody.")
    return _("No people are listed"), why, reverse("people-imports"), _("Import a file")


def _people_unreached(finding: Finding) -> _Words:
    number = int(finding.number)
    title = ngettext(
        "%(n)s person has no address outside the mail server",
        "%(n)s people have no address outside the mail server",
        number,
    ) % {"n": number}
    why = _("Notices during an outage do not reach them.")
    return title, why, f"{reverse('people')}?reach=none", _("Who")


def _people_unverified(finding: Finding) -> _Words:
    number = int(finding.number)
    title = ngettext(
        "%(n)s person has verified no alternate address or phone",
        "%(n)s people have verified no alternate address or phone",
        number,
    ) % {"n": number}
    why = _("Notices go there all the same, but nobody knows whether they arrive.")
    return title, why, f"{reverse('people')}?reach=unverified", _("Who")


def _no_route(_finding: Finding) -> _Words:
    why = _("Mail that is taken could be delivered nowhere.")
    return (
        _("There is no route to a mail server"),
        why,
        reverse("settings-edit", args=["route"]),
        _("Add a route"),
    )


def _untested(finding: Finding) -> _Words:
    if finding.at:
        title = _("%(name)s was last tested on %(date)s") % {"name": finding.name, "date": _date(finding)}
    else:
        title = _("%(name)s was never tested") % {"name": finding.name}
    why = _("A route is tested every 90 days, so that a firewall or certificate does not surprise.")
    return title, why, reverse("route-test", args=[finding.id]), _("Test it")


def _failed(finding: Finding) -> _Words:
    title = _("The last test of %(name)s failed") % {"name": finding.name}
    why = _("Mail may not get through to this server.")
    return title, why, reverse("route-test", args=[finding.id]), _("See why")


def _certificate(finding: Finding) -> _Words:
    facts = {"name": finding.name, "date": _date(finding)}
    title = _("The certificate of %(name)s ends on %(date)s") % facts
    if not finding.number:
        title = _("The certificate of %(name)s ends within a day, or has ended (%(date)s)") % facts
    why = _("After that, deliveries over verified TLS stop. Renew it there, then test the route.")
    return title, why, reverse("route-test", args=[finding.id]), _("Test it")


def _no_monitor(_finding: Finding) -> _Words:
    why = _("When the mail server fails, nobody notices.")
    return _("No monitor watches"), why, reverse("monitor-add"), _("Add a monitor")


def _threshold(finding: Finding) -> _Words:
    title = _("%(name)s counted failures and never reached its threshold") % {"name": finding.name}
    why = _("Its counter came to %(n)s in 90 days. Its page shows what a lower threshold would have done.")
    return title, why % {"n": int(finding.number)}, reverse("monitor", args=[finding.id]), _("Look at it")


def _no_drill(finding: Finding) -> _Words:
    if finding.at:
        title = _("The last drill was on %(date)s") % {"date": _date(finding)}
    else:
        title = _("There was no drill yet")
    why = _("A drill every 90 days shows whether alert, link and activation work in the hands of people.")
    return title, why, reverse("events"), _("Events")


def _disk(finding: Finding) -> _Words:
    title = _("The disk takes the mail of %(n)s days") % {"n": finding.number}
    why = _("A mail server that is down for longer would cost mail. Counted as the last 24 hours went.")
    return title, why, reverse("queue"), _("Queue")


_TOLD = {
    Gap.NO_CONTACT: _no_contact,
    Gap.CONTACT_UNREACHED: _unreached,
    Gap.CONTACT_ONE_CHANNEL: _one_channel,
    Gap.CONTACT_BROKEN: _broken,
    Gap.NO_PEOPLE: _no_people,
    Gap.PEOPLE_UNREACHED: _people_unreached,
    Gap.PEOPLE_UNVERIFIED: _people_unverified,
    Gap.NO_ROUTE: _no_route,
    Gap.ROUTE_UNTESTED: _untested,
    Gap.ROUTE_FAILED: _failed,
    Gap.CERTIFICATE_OVER: _certificate,
    Gap.CERTIFICATE_SOON: _certificate,
    Gap.NO_MONITOR: _no_monitor,
    Gap.THRESHOLD_HIGH: _threshold,
    Gap.NO_DRILL: _no_drill,
    Gap.DISK: _disk,
}
