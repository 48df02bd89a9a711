"""Testing a route: administrators start a test, everybody reads what came of it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.models import Membership
from accounts.services import AlreadyDone, Refused
from delivery.models import Route, RouteTest
from delivery.routetest.words import shown_hosts, state_words
from delivery.services import route_tests


class RouteTestForm(forms.Form):
    """Whom to ask for, and whether to send."""

    recipient = forms.EmailField(
        label=gettext_lazy("Test recipient"),
        max_length=320,
        help_text=gettext_lazy("An address that exists. The server is asked for it; nothing is sent."),
    )
    send_message = forms.BooleanField(
        label=gettext_lazy("Send a real test message"),
        required=False,
        help_text=gettext_lazy("One short message by each host, to be looked for in the mailbox."),
    )


@require_http_methods(["GET", "POST"])
@account_required
def tests(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    """The form, and the latest tests of a route."""
    if request.method == "POST":
        return _start(request, pk=pk)
    route = _route(request, pk)
    form = RouteTestForm(initial={"recipient": route_tests.usual_recipient(route)})
    return _page(request, route, form)


@administrator_required
def _start(request: ConsoleRequest, pk: int) -> HttpResponse:
    route = _route(request, pk)
    form = RouteTestForm(request.POST)
    if not form.is_valid():
        return _page(request, route, form)
    try:
        test = route_tests.start(
            route,
            actor(request),
            form.cleaned_data["recipient"],
            send_message=form.cleaned_data["send_message"],
            request_key=request_key(request),
        )
    except AlreadyDone as done:
        return redirect("route-test-result", pk, done.entry.details["test"])
    except Refused as refused:
        messages.warning(request, str(refused))
        return redirect("route-test", pk)
    return redirect("route-test-result", pk, test.pk)


@require_GET
@account_required
def one(request: ConsoleRequest, pk: int, number: int) -> HttpResponse:
    """One test, live while it runs."""
    route = _route(request, pk)
    test = get_object_or_404(RouteTest, pk=number, route=route)
    now = timezone.now()
    colour, word = state_words(test, now)
    hosts = shown_hosts(test)
    running = test.state != RouteTest.State.DONE and not test.interrupted(now)
    sent = any(step["stage"] == "message" and step["result"] == "ok" for step in test.steps)
    context: dict[str, Any] = {
        "route": route,
        "test": test,
        "hosts": hosts,
        "colour": colour,
        "word": word,
        "running": running,
        "untouched": test.state == RouteTest.State.WAITING,
        "to_confirm": sent and test.state == RouteTest.State.DONE and not test.arrived_at,
        "left": len(test.host_ids) - test.next_host,
        "one_failed": any(host.colour == "red" for host in hosts),
    }
    return render(request, "delivery/route_test_result.html", context)


@require_POST
@administrator_required
def arrived(request: ConsoleRequest, pk: int, number: int) -> HttpResponse:
    """Somebody found the test message in the mailbox."""
    test = get_object_or_404(
        RouteTest.objects.select_related("route"), pk=number, route__pk=pk, route__account=request.account
    )

    def confirm() -> str:
        route_tests.confirm_arrival(test, actor(request), request_key=request_key(request))
        return _("Thank you: the test message arrived, so mail flows to the mailbox.")

    return carry_out(request, confirm)


def _route(request: ConsoleRequest, pk: int) -> Route:
    return get_object_or_404(Route, pk=pk, account=request.account)


def _page(request: ConsoleRequest, route: Route, form: RouteTestForm) -> HttpResponse:
    now = timezone.now()
    history = [
        (test, *state_words(test, now))
        for test in route.tests.defer("steps", "host_ids").order_by("-pk")[: route_tests.KEPT_PER_ROUTE]
    ]
    context = {
        "route": route,
        "form": form,
        "history": history,
        "hosts": list(route.hosts.all()),
        "may_start": request.role == Membership.Role.ADMINISTRATOR,
    }
    return render(request, "delivery/route_test.html", context)
