"""Django's admin knows no accounts, so only the platform administrator gets in, by the console's sign-in."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import User


class PlatformSite(AdminSite):
    """The middleware sees to the second factor."""

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff who are no platform administrators would see every account."""
        user = request.user
        return isinstance(user, User) and user.is_active and user.is_superuser

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """The console's sign-in page, with its lock-out and second factor."""
        if request.user.is_authenticated and not self.has_permission(request):
            return render(request, "403.html", status=403)
        return redirect_to_login(request.GET.get("next", reverse("admin:index")), reverse("sign-in"))
