"""To the provider and back."""

from __future__ import annotations

import logging
from dataclasses import asdict
from urllib.parse import urljoin

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.client import client_address
from accounts.models import User
from accounts.signin import half, oidc, second_factor

logger = logging.getLogger(__name__)
KEY = "oidc"
BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@require_GET
def set_out(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider."""
    if not oidc.enabled():
        raise Http404
    target = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure()):
        target = reverse("dashboard")
    try:
        journey, address = oidc.set_out(_back())
    except oidc.Failed as failed:
        return _refuse(request, str(failed))
    request.session[KEY] = {"journey": asdict(journey), "target": target}
    return redirect(address)


@never_cache
@require_GET
def arrive(request: HttpRequest) -> HttpResponse:
    """Sign in whose address the provider verified; the second factor is asked for as after a password."""
    kept = request.session.pop(KEY, None)
    if not oidc.enabled() or not kept:
        return _refuse(request, "nobody set out from this browser")
    state, code = request.GET.get("state", ""), request.GET.get("code", "")
    try:
        address = oidc.arrive(
            oidc.Journey(**kept["journey"]), state, code, _back(), timezone.now().timestamp()
        )
    except oidc.Failed as failed:
        return _refuse(request, str(failed))
    if request.user.is_authenticated:
        return redirect(kept["target"])
    users = list(User.objects.filter(email__iexact=address, is_active=True)[:2])
    if len(users) != 1:
        return _refuse(request, "no user, or several, have this address", address=address)
    user = users[0]
    user.backend = BACKEND
    if second_factor.device_of(user):
        half.begin(request, user, kept["target"])
        return redirect("sign-in-code")
    half.finish(request, user, "oidc")
    return redirect(kept["target"])


def _back() -> str:
    return urljoin(settings.BASE_URL + "/", reverse("oidc-back").lstrip("/"))


def _refuse(request: HttpRequest, why: str, address: str = "") -> HttpResponse:
    logger.warning("user.sign_in_failed by OIDC from %s: %s", client_address(request), why)
    if address:
        text = _("Nobody here has the address %(address)s that %(provider)s knows you by.")
        messages.error(request, text % {"address": address, "provider": settings.OIDC_NAME})
    else:
        text = _("Signing in by %(provider)s did not work. Try again, or use your password.")
        messages.error(request, text % {"provider": settings.OIDC_NAME})
    return redirect("sign-in")
