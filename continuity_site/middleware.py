"""Which account a console request is about."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from accounts.access import SESSION_KEY
from accounts.models import Account, Membership, User
from accounts.signin import second_factor, sessions

# What somebody needs who is signed in by password alone and may not be.
SIGNING_IN = ("/sign-in/", "/sign-out/", "/static/")
# Pages that know their account by a token or need none: they stay off the session table.
NOT_CONSOLE = ("/m/", "/api/", "/receipts/", "/healthz", "/admin/jsi18n/")


class AccountMiddleware:
    """Sets `request.account`, `request.role` and `request.accounts`, by what the user may see.

    Whoever needs a second factor sees nothing, and does nothing, before it was given.

    The choice is kept in the session, and looked up among the visible accounts each time: a membership
    that ends takes effect with the next request. Times on the page are in the user's zone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        account, role, accounts, zone = None, None, [], ""
        roles: dict[Account, Membership.Role] = {}
        console = not request.path.startswith(NOT_CONSOLE)
        if console:
            sessions.arrive(request)
        if console and request.user.is_authenticated:
            roles, zone = visible(request.user), request.user.time_zone
            sessions.seen(request, timezone.now())
            if second_factor.missing(request, request.user, roles):
                if not request.path.startswith(SIGNING_IN):
                    return redirect("second-factor")
                roles = {}  # nothing of an account is shown before
            accounts = sorted(roles, key=lambda one: one.name.casefold())
            chosen = request.session.get(SESSION_KEY)
            account = next((one for one in accounts if one.pk == chosen), accounts[0] if accounts else None)
            role = roles[account] if account else None
        request.account, request.role, request.accounts = account, role, accounts  # type: ignore[attr-defined]
        request.roles = roles  # type: ignore[attr-defined]
        if account is None:
            return self.get_response(request)
        with timezone.override(ZoneInfo(zone)):
            response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def visible(user: User) -> dict[Account, Membership.Role]:
    """The accounts that `user` may see, with the role in each. One query."""
    if user.is_superuser:
        return dict.fromkeys(Account.objects.visible_to(user), Membership.Role.ADMINISTRATOR)
    memberships = Membership.objects.filter(user=user).select_related("account")
    return {one.account: Membership.Role(one.role) for one in memberships}
