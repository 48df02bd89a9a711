"""The contacts: who is told, by which ways, and whether those work."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import (
    ConsoleRequest,
    account_required,
    actor,
    administrator_required,
    request_key,
)
from accounts.models import Contact
from accounts.services import AlreadyDone
from notifications.forms import ContactForm, ContactPoints
from notifications.models import Suspension
from notifications.services.settings import NotValid, settings_contact


@require_GET
@account_required
def contacts(request: ConsoleRequest) -> HttpResponse:
    """Everybody who can be told, and how."""
    found = request.account.contacts.prefetch_related("points").order_by("-active", "name")
    running = Suspension.objects.filter(account=request.account, until__gt=timezone.now())
    return render(
        request,
        "notifications/contacts.html",
        {"contacts": list(found), "suspensions": list(running.select_related("contact").order_by("until"))},
    )


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, pk: int | None = None) -> HttpResponse:
    """Add or change a contact with the ways to reach them."""
    contact = get_object_or_404(Contact, pk=pk, account=request.account) if pk else None
    initial = {} if contact else {"time_zone": request.account.time_zone}
    form = ContactForm(request.account, request.POST or None, instance=contact, initial=initial)
    points = ContactPoints(request.POST or None, instance=contact, prefix="points")
    if request.method == "POST" and form.is_valid():
        try:
            settings_contact(
                request.account, actor(request), form, request.POST, request_key=request_key(request)
            )
        except NotValid as invalid:
            points = invalid.points
        except AlreadyDone:
            return redirect("contacts")
        else:
            messages.success(request, _("The contact was saved."))
            return redirect("contacts")
    return render(request, "notifications/contact.html", {"form": form, "points": points, "contact": contact})
