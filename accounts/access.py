"""Who may see which console page: every view of an account goes through one of these decorators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from accounts.client import client_address
from accounts.models import Account, Membership, User
from accounts.services import Actor, AlreadyDone, Refused

P = ParamSpec("P")
SESSION_KEY = "account"


class ConsoleRequest(HttpRequest):
    """A request of a signed-in user for one account, as `continuity_site.middleware` prepares it."""

    account: Account
    accounts: list[Account]
    role: Membership.Role
    user: User

    @property
    def may_write(self) -> bool:
        """Only for annotations: templates ask `request.role`."""
        return self.role == Membership.Role.ADMINISTRATOR


ConsoleView = Callable[Concatenate[ConsoleRequest, P], HttpResponseBase]
AnyView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def account_required(view: ConsoleView[P]) -> AnyView[P]:
    """Signed in and looking at an account, as administrator or support."""

    @wraps(view)
    def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if getattr(request, "account", None) is None:
            return render(request, "accounts/no_account.html", status=403)
        return view(cast(ConsoleRequest, request), *args, **kwargs)

    return cast(AnyView[P], login_required(checked))


def administrator_required(view: ConsoleView[P]) -> AnyView[P]:
    """An administrator of the account: whoever changes something. Support staff read and are refused here."""

    @wraps(view)
    def checked(request: ConsoleRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.role != Membership.Role.ADMINISTRATOR:
            return render(request, "accounts/forbidden.html", status=403)
        return view(request, *args, **kwargs)

    return account_required(cast(ConsoleView[P], checked))


def user_actor(request: HttpRequest, user: User) -> Actor:
    """The user as the one who decides, from where the request comes."""
    return Actor.user(user, client_address(request))


def actor(request: ConsoleRequest) -> Actor:
    """The signed-in user as the one who decides."""
    return user_actor(request, request.user)


def request_key(request: ConsoleRequest) -> str | None:
    """The form's nonce as the decision's request key: a double submit decides once."""
    nonce = request.POST.get("request_key", "")[:40]
    return f"console:{request.user.pk}:{nonce}" if nonce else None


def back(request: HttpRequest, default: str = "dashboard") -> HttpResponse:
    """Redirect to the form's `next` when it is one of our own addresses, else to `default`."""
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure()):
        return redirect(target)
    return redirect(default)


def carry_out(request: ConsoleRequest, action: Callable[[], str], default: str = "dashboard") -> HttpResponse:
    """Do what a form asked for, say what came of it, and go back to where the form was."""
    try:
        messages.success(request, action())
    except AlreadyDone:
        messages.info(request, _("This was done already; nothing was done twice."))
    except Refused as refused:
        messages.warning(request, str(refused))
    return back(request, default)
