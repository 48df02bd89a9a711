"""Which account a console request is about."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.access import SESSION_KEY
from accounts.models import Account, Membership, User

# Pages that know their account by a token or need none: they stay off the session table.
NOT_CONSOLE = ("/m/", "/api/", "/receipts/", "/healthz", "/admin/jsi18n/")


class AccountMiddleware:
    """Sets `request.account`, `request.role` and `request.accounts`, by what the user may see.

    The choice is kept in the session, and looked up among the visible accounts each time: a membership
    that ends takes effect with the next request. Times on the page are in the user's zone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        account, role, accounts, zone = None, None, [], ""
        if not request.path.startswith(NOT_CONSOLE) and request.user.is_authenticated:
            roles, zone = visible(request.user), request.user.time_zone
            accounts = sorted(roles, key=lambda one: one.name.casefold())
            chosen = request.session.get(SESSION_KEY)
            account = next((one for one in accounts if one.pk == chosen), accounts[0] if accounts else None)
            role = roles[account] if account else None
        request.account, request.role, request.accounts = account, role, accounts  # type: ignore[attr-defined]
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
