"""The page of one monitor: chart, reasons, other thresholds, windows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, Contact, Membership
from accounts.services import SCHEDULER, decision
from monitoring import history, rules
from monitoring.forms import MonitorForm, ThresholdForm
from monitoring.models import Monitor, Outage, Window
from notifications.models import Suspension
from tests.monitoring.conftest import START, WINDOW, Site
from tests.site.pages import make_user

WORDS = "421 4.3.2 shutting down"


def judged(monitor: Monitor, steps: Sequence[int]) -> None:
    """Store windows with these steps, the last one ending at START, and the outages they are."""
    begin, length = START - len(steps) * WINDOW, WINDOW
    counter, outage, since, windows = 0, None, begin, []
    for number, step in enumerate(steps):
        start, before = begin + number * length, counter
        counter, opens, closes = rules.turn(counter, step, monitor.threshold, outage is not None)
        since = start if step > 0 and not before else since
        windows.append(
            Window(
                monitor=monitor,
                start=start,
                end=start + length,
                step=step,
                counter=counter,
                verdict={1: "failure", 0: "unknown", -1: "success"}[step],
                source="probe" if step else "",
                reply=WORDS if step > 0 else "",
            )
        )
        if opens:
            outage = Outage.objects.create(
                account=monitor.account,
                monitor=monitor,
                failing_since=since,
                opened_at=start + length + rules.GRACE,
                reply=WORDS,
            )
        elif closes and outage:
            Outage.objects.filter(pk=outage.pk).update(closed_at=start + length)
            outage = None
    Window.objects.bulk_create(windows, batch_size=1000)
    Monitor.objects.filter(pk=monitor.pk).update(counter=counter, judged_until=START)


@pytest.fixture
def administrator(site: Site) -> Client:
    client = Client()
    client.force_login(make_user("maria", site.account, Membership.Role.ADMINISTRATOR))
    return client


def look(client: Client, site: Site, query: str = "", status: int = 200) -> str:
    with time_machine.travel(START + timedelta(seconds=5), tick=False):
        answer = client.get(f"/monitors/{site.monitor.pk}/{query}")
    assert answer.status_code == status
    return answer.content.decode()


def drawn(page: str) -> ET.Element:
    at = page.index('<svg class="chart"')
    return ET.fromstring(page[at : page.index("</svg>", at) + 6])


NOISY = [-1] * 5100 + ([1] * 3 + [-1] * 60) * 8 + [1] * 30 + [-1] * 100


def test_it_answers_why_and_says_which_threshold_is_better(site: Site, administrator: Client) -> None:
    judged(site.monitor, NOISY)
    page = look(administrator, site)
    assert "With 5 this would have alerted once, not 9 times" in page
    assert "still have been noticed after 10 minutes." in page
    assert "3 windows failed before it opened" in page
    assert "3 by probes" in page
    assert page.count(f'<samp class="words">{WORDS}</samp>') >= 5
    assert "the counter was back at 1." in page
    assert 'id="outages"' in page
    assert "Older outages" in page
    older = look(administrator, site, f"?outages={Outage.objects.order_by('-pk')[4].pk}")
    assert "Older outages" not in older
    assert older.count("3 windows failed before") == 4
    form = {"threshold": "5", "next": f"/monitors/{site.monitor.pk}/", "request_key": "one"}
    answer = administrator.post(f"/monitors/{site.monitor.pk}/threshold/", form, follow=True)
    assert "An outage now opens at 5." in answer.content.decode()
    assert site.fresh().threshold == 5
    entry = AuditEntry.objects.get(action="settings.changed")
    assert entry.details["changes"] == {"threshold": ["3", "5"]}
    assert entry.actor_name


def test_the_button_keeps_what_was_judged_meanwhile(site: Site, administrator: Client) -> None:
    for wrong in ("0", "61", "x", ""):
        answer = administrator.post(
            f"/monitors/{site.monitor.pk}/threshold/", {"threshold": wrong}, follow=True
        )
        assert "a number from 1 to 60" in answer.content.decode()
    assert site.fresh().threshold == 3
    assert AuditEntry.objects.count() == 0
    whole = {"description": "Mail server", "time_zone": "UTC", "active": "on", "sensitivity": "10"}
    whole["route"] = str(site.route.pk)
    for form in (
        ThresholdForm(site.account, {"threshold": "10"}, instance=Monitor.objects.get()),
        MonitorForm(site.account, whole, instance=Monitor.objects.get()),
    ):
        assert form.is_valid(), form.errors
        later = Monitor.objects.get().judged_until + WINDOW  # type: ignore[operator]
        Monitor.objects.update(counter=F("counter") + 1, judged_until=later)
        form.save()
        assert site.fresh().judged_until == later
    assert (site.fresh().counter, site.fresh().threshold) == (2, 10)


def test_support_reads_everything_and_changes_nothing(site: Site) -> None:
    judged(site.monitor, NOISY)
    support = Client()
    support.force_login(make_user("sam", site.account, Membership.Role.SUPPORT))
    page = look(support, site)
    assert "With 5 this would have alerted once" in page
    assert "Set the threshold" not in page
    assert support.post(f"/monitors/{site.monitor.pk}/threshold/", {"threshold": "5"}).status_code == 403
    stranger = Client()
    stranger.force_login(make_user("eve", None, None))
    assert stranger.get(f"/monitors/{site.monitor.pk}/").status_code in (403, 404)


def test_the_chart_marks_outages_alerts_suspensions_and_what_is_unknown(
    site: Site, administrator: Client
) -> None:
    judged(site.monitor, [-1] * 50 + [0] * 10 + [1] * 40)
    outage = Outage.objects.get()
    contact = Contact.objects.create(account=site.account, name="Anna")
    with decision(site.account.pk, SCHEDULER, now=outage.opened_at) as decided:
        decided.record("alert.decided", subject=f"outage:{outage.pk}", contacts=[contact.pk])
    before, after = outage.opened_at - WINDOW, outage.opened_at + WINDOW
    for made_at in (before, after):
        Suspension.objects.create(
            account=site.account, made_at=made_at, made_by="Maria", until=made_at + timedelta(hours=1)
        )
    page = look(administrator, site)
    svg = drawn(page)
    assert [one.tag for one in svg][:2] == ["title", "desc"]
    assert "at most 3" in (svg[1].text or "")
    assert "1 outage in" in (svg[1].text or "")
    assert "Contacts were alerted 1 time." in (svg[1].text or "")
    shapes = [(one.tag, one.get("class")) for one in svg if one.tag in ("rect", "path")]
    assert shapes == [("rect", "band grey"), ("rect", "band red"), ("path", "bar red"), ("rect", "bar amber")]
    for word in ("outage open", "unknown", "contacts alerted", "notifications suspended"):
        assert word in page
    assert "style=" not in page
    around = look(administrator, site, f"?outage={outage.pk}")
    assert "Around the outage of" in around
    look(administrator, site, "?outage=999999", status=404)


def test_windows_are_read_page_by_page(site: Site, administrator: Client) -> None:
    judged(site.monitor, [-1] * 45)
    first = look(administrator, site)
    assert "Older windows" in first
    last = site.monitor.windows.order_by("-end")[29]
    second = look(administrator, site, f"?before={last.pk}")
    assert "Older windows" not in second
    assert second.count('class="badge green">Success') == 15 + 1, "and the stretch in the numbers"
    for wrong in ("?before=x", "?before=0", "?windows=7", "?outages=-1", "?before=99999999999999999"):
        look(administrator, site, wrong)


def test_a_new_one_one_that_is_off_and_one_with_little_history(site: Site, administrator: Client) -> None:
    page = look(administrator, site)
    for words in ("No window was judged", "It never alerted.", "Nothing to judge again yet.", "too little"):
        assert words in page
    Monitor.objects.update(active=False)
    assert "The monitor is off." in look(administrator, site)
    Monitor.objects.update(active=True)
    judged(site.monitor, [-1] * 100)
    page = look(administrator, site)
    assert "it takes 7 d of judged windows" in page
    assert "Recommended" not in page


def test_times_are_those_of_the_monitor(site: Site, administrator: Client) -> None:
    Monitor.objects.update(time_zone="Asia/Tokyo")
    judged(site.monitor, [1] * 3)
    assert "21:00:01 JST" in look(administrator, site)


def test_with_windows_of_ten_seconds_less_time_is_shown(site: Site, administrator: Client) -> None:
    Monitor.objects.update(window_seconds=10)
    page = look(administrator, site)
    assert "2 hours" in page
    assert "14 hours" in page
    assert "60 hours" in page


def test_a_month_costs_as_many_queries_as_an_hour(site: Site, administrator: Client) -> None:
    def queries(query: str) -> tuple[int, str]:
        with CaptureQueriesContext(connection) as captured:
            page = look(administrator, site, query)
        return len(captured), page

    judged(site.monitor, [-1] * 20 + [1] * 5 + [-1] * 5)
    look(administrator, site)  # the first one writes down that the session is in use
    few, _page = queries("?windows=21600")
    Window.objects.all().delete()
    Outage.objects.all().delete()
    history.forget_kept()
    judged(site.monitor, ([1] * 3 + [-1] * 57) * 60)
    many, page = queries("?windows=21600")
    assert few == many
    assert len(ET.tostring(drawn(page))) < 60_000


def test_what_was_read_is_kept_until_more_is_judged(site: Site) -> None:
    monitor, span = site.monitor, timedelta(days=30)
    judged(monitor, [-1] * 20 + [1] * 5)
    first = history.latest_stretches(site.fresh(), span, START)
    assert [(one.windows, one.last) for one in first] == [(20, 0), (5, 3)]

    def window(number: int, verdict: str, step: int, counter: int) -> None:
        at = START + number * WINDOW
        Window.objects.create(
            monitor=monitor, start=at, end=at + WINDOW, verdict=verdict, step=step, counter=counter
        )

    window(0, "failure", 1, 3)
    window(1, "success", -1, 2)
    now = START + 2 * WINDOW
    Monitor.objects.update(judged_until=now)
    with CaptureQueriesContext(connection) as captured:
        later = history.latest_stretches(site.fresh(), span, now)
    assert len(captured) == 2, "the monitor, and the windows"
    assert [(one.windows, one.first, one.last) for one in later] == [(20, 0, 0), (6, 1, 3), (1, 2, 2)]
    assert later == tuple(history.stretches(monitor, now - span, now))
    # A clock that was ahead is put back: what it had seen is gone.
    Window.objects.filter(start__gte=START + WINDOW).delete()
    Monitor.objects.update(judged_until=START + WINDOW)
    assert [one.windows for one in history.latest_stretches(site.fresh(), span, now)] == [20, 6]


def test_a_monitor_whose_route_was_removed_says_what_to_do(site: Site, administrator: Client) -> None:
    edit = f"/monitors/{site.monitor.pk}/edit/"
    assert "was removed" not in look(administrator, site) + administrator.get(edit).content.decode()
    site.route.delete()
    for page in (look(administrator, site), administrator.get(edit).content.decode()):
        assert "The route that this monitor watched was removed." in page
        assert "It watches nothing, and nobody is alerted by it." in page
    assert "Change the monitor" in look(administrator, site)
    Monitor.objects.update(outbound_host="mail.example.org")
    for page in (look(administrator, site), administrator.get(edit).content.decode()):
        assert "the outbound check goes on" in page
    Monitor.objects.update(inbound=False)
    assert "was removed" not in look(administrator, site)
