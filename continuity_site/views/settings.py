"""The settings of an account: name, domains, routes, waiting and alerting. Support staff read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import models
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import ConsoleRequest, account_required, actor, administrator_required, request_key
from accounts.changes import delete_settings, save_settings
from accounts.forms import AccountForm, AccountNameForm, UserZoneForm
from accounts.models import Account, MailDomain
from accounts.services import AlreadyDone
from delivery.forms import DeliverySettingsForm, RouteForm, RouteHosts
from delivery.models import DeliverySettings, Route
from delivery.reads import bounces_without_route
from delivery.sending_forms import OutboundNetworksForm, SubmissionUserForm
from delivery.services.settings import settings_route
from events.models import AlertSettings
from notifications.models import ContactPoint
from notifications.services.points import recheck


class DomainForm(AccountForm[MailDomain]):
    """A domain whose mail is taken."""

    class Meta:
        model = MailDomain
        fields = ["name", "policy"]
        labels = {"name": gettext_lazy("Domain"), "policy": gettext_lazy("Who gets mail")}
        help_texts = {
            "policy": gettext_lazy(
                "Known recipients only keeps a queueing gateway from bouncing to strangers."
            )
        }

    def clean_name(self) -> str:
        """Lower case, A-labels: as it is compared at RCPT."""
        name = str(self.cleaned_data["name"]).strip().rstrip(".").lower()
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
        if "." not in name or " " in name or "@" in name:
            raise forms.ValidationError(_("Write the domain alone, such as example.org."))
        return name


class AlertSettingsForm(AccountForm[AlertSettings]):
    """How often an outage alerts."""

    interval_minutes = forms.IntegerField(
        label=gettext_lazy("Minutes between alerts"), min_value=15, max_value=1440,
        help_text=gettext_lazy("While an outage lasts and nobody suspended notifications: 15 to 1440."),
    )  # fmt: skip

    step_minutes = forms.IntegerField(
        label=gettext_lazy("Minutes until the next step"), min_value=1, max_value=1440,
        help_text=gettext_lazy("When nobody has seen an outage for so long, the next step is told."),
    )  # fmt: skip

    activate_minutes = forms.IntegerField(
        label=gettext_lazy("Minutes of outage until continuity mode is activated"), required=False,
        min_value=1, max_value=1440,
        help_text=gettext_lazy("Empty: only people activate it. Once for an outage, for 24 hours."),
    )  # fmt: skip

    class Meta:
        model = AlertSettings
        fields = ["interval_minutes", "step_minutes", "activate_minutes"]


def _own(model: type[models.Model]) -> Callable[[Account], Any]:
    """The account's row of a settings model, or the defaults, unsaved."""
    return lambda account: model._default_manager.filter(account=account).first() or model(account=account)


# part: (title, form, the one row of the account; None for rows that are added by number)
PARTS: dict[str, tuple[Any, type[AccountForm[Any]], Callable[[Account], Any] | None]] = {
    "account": (gettext_lazy("Account"), AccountNameForm, lambda account: account),
    "delivery": (gettext_lazy("Waiting mail"), DeliverySettingsForm, _own(DeliverySettings)),
    "alerts": (gettext_lazy("Alerts"), AlertSettingsForm, _own(AlertSettings)),
    "domain": (gettext_lazy("Domain"), DomainForm, None),
    "route": (gettext_lazy("Route"), RouteForm, None),
    "networks": (gettext_lazy("Your own networks"), OutboundNetworksForm, _own(DeliverySettings)),
    "sender": (gettext_lazy("User who may send"), SubmissionUserForm, None),
}


@require_GET
@account_required
def overview(request: ConsoleRequest) -> HttpResponse:
    """All settings on one page."""
    account = request.account
    domains = account.domains.annotate(known=Count("known_recipients")).order_by("name")
    return render(
        request,
        "continuity_site/settings.html",
        {
            "domains": list(domains),
            "people": account.people.count(),
            "routes": list(account.routes.prefetch_related("hosts").order_by("kind", "name")),
            "delivery": _own(DeliverySettings)(account),
            "alerts": _own(AlertSettings)(account),
            "senders": list(account.submission_users.order_by("username")),
            "way_out": account.routes.filter(kind=Route.Kind.OUTBOUND).exists(),
            "submission_port": settings.SUBMISSION_PORT,
            "bounces_waiting": bounces_without_route(account.pk, timezone.now()),
        },
    )


@require_http_methods(["GET", "POST"])
@account_required
def zone(request: ConsoleRequest) -> HttpResponse:
    """The signed-in user's own time zone: not the account's business, so support staff have it too."""
    form = UserZoneForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Times are now told in %(zone)s.") % {"zone": request.user.time_zone})
        return redirect("settings")
    return render(request, "continuity_site/settings_edit.html", {"form": form, "title": _("Your time zone")})


@require_http_methods(["GET", "POST"])
@administrator_required
def edit(request: ConsoleRequest, part: str, pk: int | None = None) -> HttpResponse:
    """Change one part of the settings, or add or remove a row of it."""
    if part not in PARTS:
        raise Http404
    title, form_class, own = PARTS[part]
    model = form_class._meta.model
    if own:
        instance = own(request.account)
    else:
        instance = get_object_or_404(model, pk=pk, account=request.account) if pk else None
    data = request.POST or None
    form = form_class(request.account, data, instance=instance)
    hosts = RouteHosts(data, instance=instance, prefix="hosts") if part == "route" else None
    if request.method == "POST" and "remove" in request.POST and not own and instance:
        return _remove(request, instance)
    if request.method == "POST" and form.is_valid() and (hosts is None or hosts.is_valid()):
        return _save(request, form, hosts)
    context = {"title": title, "form": form, "hosts": hosts, "instance": instance, "removable": bool(pk)}
    return render(request, "continuity_site/settings_edit.html", context)


def _save(request: ConsoleRequest, form: AccountForm[Any], hosts: Any) -> HttpResponse:
    try:
        if isinstance(form, DomainForm):
            _save_domain(request, form)
        elif hosts is None:
            save_settings(request.account, actor(request), form, request_key=request_key(request))
        else:
            settings_route(request.account, actor(request), form, hosts, request_key=request_key(request))
    except AlreadyDone:
        pass
    messages.success(request, _("Saved."))
    return redirect("settings")


def _save_domain(request: ConsoleRequest, form: DomainForm) -> None:
    """A domain that is ours now is no place for alerts any more: say whose points cannot be used."""
    unusable: list[ContactPoint] = []
    key = request_key(request)
    then = lambda decided: unusable.extend(recheck(decided))  # noqa: E731
    save_settings(request.account, actor(request), form, request_key=key, then=then)
    for point in unusable:
        messages.warning(
            request,
            _("%(name)s is not alerted at %(address)s any more: this address is in one of your own domains.")
            % {"name": point.contact.name, "address": point.address},
        )


def _remove(request: ConsoleRequest, row: Any) -> HttpResponse:
    try:
        delete_settings(request.account, actor(request), row, request_key=request_key(request))
    except (models.ProtectedError, models.RestrictedError):
        messages.warning(
            request, _("%(row)s is still in use: mail or a monitor belongs to it.") % {"row": row}
        )
    except AlreadyDone:
        pass
    else:
        messages.success(request, _("%(row)s was removed.") % {"row": row})
    return redirect("settings")
