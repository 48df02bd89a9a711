"""The contacts: who is told, by which ways, and whether those work."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    carry_out,
    request_key,
)
from accounts.models import Contact
from accounts.services import AlreadyDone
from notifications import codes
from notifications.forms import ContactForm, ContactPoints
from notifications.models import ContactPoint, Notification, Suspension
from notifications.reads import last_messages, reachability, reachability_of
from notifications.services.points import move
from notifications.services.settings import NotValid, settings_contact
from notifications.services.verification import send_code, send_test, verify


@require_GET
@account_required
def contacts(request: ConsoleRequest) -> HttpResponse:
    """Everybody who can be told, and whether they would be."""
    running = Suspension.objects.filter(account=request.account, until__gt=timezone.now())
    return render(
        request,
        "notifications/contacts.html",
        {
            "contacts": reachability(request.account),
            "suspensions": list(running.select_related("contact").order_by("until")),
        },
    )


@require_GET
@account_required
def contact(request: ConsoleRequest, pk: int) -> HttpResponse:
    """One contact: the ways to reach them, each with its state and what can be done about it."""
    found = get_object_or_404(Contact.objects.select_related("account"), pk=pk, account=request.account)
    reach = reachability_of(found)
    sent = last_messages(found)
    lately = timezone.now() - codes.CODE_LIFETIME
    points = []
    for point in reach.points:
        last = sent.get(point.pk)
        recent = last is not None and last.created_at > lately
        points.append(
            {
                "point": point,
                "usable": point.verified_at and not point.disabled_at,
                "last": last,
                "attempt": next(reversed(last.attempts.all()), None) if last else None,
                "on_its_way": last and last.state in (Notification.State.PENDING, Notification.State.SENDING),
                "code_expected": recent and last is not None and last.kind == codes.CODE,
            }
        )
    return render(
        request,
        "notifications/contact.html",
        {
            "contact": found,
            "reach": reach,
            "points": points,
            "busy": any(one["on_its_way"] for one in points),
            "monitors": list(found.monitors.order_by("description")),
        },
    )


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Add or change a contact with the ways to reach them."""
    found = get_object_or_404(Contact, pk=pk, account=request.account) if pk else None
    initial = {} if found else {"time_zone": request.account.time_zone}
    form = ContactForm(request.account, request.POST or None, instance=found, initial=initial)
    points = ContactPoints(request.POST or None, instance=found, prefix="points")
    if request.method == "POST" and form.is_valid():
        key = request_key(request)
        try:
            saved = settings_contact(request.account, actor(request), form, request.POST, request_key=key)
        except NotValid as invalid:
            points = invalid.points
        except AlreadyDone:
            return redirect("contacts")
        else:
            return carry_out(
                request, lambda: _("The contact was saved."), reverse("contact", args=[saved.pk])
            )
    context = {"form": form, "points": points, "contact": found}
    return render(request, "notifications/contact_edit.html", context)


@require_POST
@administrator_required
def act(request: ConsoleRequest, pk: int, action: str) -> HttpResponse:
    """One action on one contact point."""
    point = get_object_or_404(ContactPoint, pk=pk, contact__account=request.account)
    if action not in ACTIONS:
        raise Http404
    page = reverse("contact", args=[point.contact_id])
    return carry_out(request, lambda: ACTIONS[action](request, point), page)


def _code(request: ConsoleRequest, point: ContactPoint) -> str:
    send_code(request.account.pk, actor(request), point.pk, request_key=request_key(request))
    return _("A code is on its way to %(to)s. Type it in below within 30 minutes.") % {
        "to": point.shown_address
    }


def _test(request: ConsoleRequest, point: ContactPoint) -> str:
    send_test(request.account.pk, actor(request), point.pk, request_key=request_key(request))
    return _("A test is on its way to %(to)s. What the provider says shows below.") % {
        "to": point.shown_address
    }


def _verify(request: ConsoleRequest, point: ContactPoint) -> str:
    verify(request.account.pk, actor(request), point.pk, request.POST.get("code", ""))
    return _("%(to)s is verified. Alerts go there from now on.") % {"to": point.shown_address}


def _move(up: bool) -> Callable[[ConsoleRequest, ContactPoint], str]:
    def moved(request: ConsoleRequest, point: ContactPoint) -> str:
        move(request.account.pk, actor(request), point.pk, up=up, request_key=request_key(request))
        return _("The order was changed.")

    return moved


ACTIONS: dict[str, Callable[[ConsoleRequest, ContactPoint], str]] = {
    "code": _code,
    "test": _test,
    "verify": _verify,
    "up": _move(up=True),
    "down": _move(up=False),
}
