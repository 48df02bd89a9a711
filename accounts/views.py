"""Choosing the account to look at."""

from __future__ import annotations

from django.http import Http404, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.access import SESSION_KEY, ConsoleRequest, account_required


@require_POST
@account_required
def choose_account(request: ConsoleRequest) -> HttpResponseBase:
    """Look at another account; one that the user may not see does not exist."""
    chosen = request.POST.get("account", "")
    if chosen not in {str(account.pk) for account in request.accounts}:
        raise Http404
    request.session[SESSION_KEY] = int(chosen)
    return redirect("dashboard")
