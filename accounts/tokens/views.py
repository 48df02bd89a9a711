"""The page on which administrators make and revoke API tokens."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from accounts.access import ConsoleRequest, actor, administrator_required, request_key
from accounts.services import AlreadyDone, Refused
from accounts.tokens import services
from accounts.tokens.models import ApiToken


class TokenForm(forms.Form):
    """What a new token is called, and what it may do."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"),
        choices=ApiToken.Scope.choices,
        widget=forms.CheckboxSelectMultiple,
    )


@require_http_methods(["GET", "POST"])
@administrator_required
def tokens(request: ConsoleRequest) -> HttpResponse:
    """The tokens of the account; a new one's secret is in this one answer only."""
    revoked = request.POST.get("revoke", "")
    form = TokenForm(request.POST if request.method == "POST" and not revoked else None)
    secret, account, key = "", request.account.pk, request_key(request)
    try:
        if revoked:
            number = int(revoked) if revoked.isascii() and revoked.isdigit() and len(revoked) < 19 else 0
            services.revoke(account, actor(request), number, request_key=key)
            messages.success(request, _("The token was revoked."))
            return redirect("api-tokens")
        if form.is_valid():
            chosen = form.cleaned_data
            made = services.create(account, actor(request), chosen["name"], chosen["scopes"], request_key=key)
            secret, form = made[1], TokenForm()
    except AlreadyDone:
        messages.info(request, _("This was done already; nothing was done twice."))
        return redirect("api-tokens")
    except Refused as refused:
        messages.warning(request, str(refused))
        return redirect("api-tokens")
    found = ApiToken.objects.filter(account=account, revoked_at=None).order_by("name", "pk")
    context = {"form": form, "secret": secret, "tokens": list(found)}
    return render(request, "accounts/tokens.html", context)  # no-store, as every console page
