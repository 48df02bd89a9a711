"""Signing in: password, then a code; setting the second factor up; signing out."""

from __future__ import annotations

from typing import Any, cast

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import user_actor
from accounts.models import User
from accounts.signin import half, oidc, second_factor
from accounts.signin.forms import CodeForm, ReplaceForm, SetUpForm


class SignIn(LoginView):
    """The sign-in page; somebody signed in already goes on to the console."""

    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        provider = settings.OIDC_NAME if oidc.enabled() else ""
        return super().get_context_data(provider=provider, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        if second_factor.device_of(user):
            half.begin(self.request, user, self.get_success_url())
            return redirect("sign-in-code")
        half.finish(self.request, user, "password")
        return HttpResponseRedirect(self.get_success_url())


class SignOut(LogoutView):
    """POST only: a link in a mail cannot sign anybody out."""

    http_method_names = ["post", "options"]


@sensitive_post_parameters("code")
@never_cache
@require_http_methods(["GET", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor of whoever has given the right password."""
    known = _half_known(request)
    if known is None:
        messages.info(request, _("Sign in again: this took too long, or your password was changed."))
        return redirect("sign-in")
    user, target = known
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if not AxesProxyHandler.is_allowed(request, {"username": user.get_username()}):
            request.axes_locked_out = True  # type: ignore[attr-defined]  # django-axes answers in our place
        elif by := _verify(request, user, form):
            half.finish(request, user, by)
            if by == "recovery":
                _say_codes_left(request, user)
            return redirect(target)
    return render(request, "accounts/sign_in_code.html", {"form": form})


@sensitive_post_parameters("code", "password")
@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def set_up(request: HttpRequest) -> HttpResponse:
    """Set up the second factor, or replace it; then show the recovery codes, this once."""
    user = cast(User, request.user)
    replacing = second_factor.device_of(user) is not None
    if replacing and second_factor.VERIFIED not in request.session:
        return redirect("sign-in-code")
    data = request.POST or None
    form = ReplaceForm(request, user, data) if replacing else SetUpForm(data)
    if request.method == "POST" and form.is_valid():
        codes = _set_up(request, user, form)
        if codes:
            half.verified(request)
            return render(request, "accounts/recovery_codes.html", {"codes": codes, "first": not replacing})
    device = second_factor.offer(user)
    return render(
        request,
        "accounts/second_factor.html",
        {
            "form": form,
            "replacing": replacing,
            "secret": second_factor.secret_words(device),
            "link": device.config_url,
        },
    )


@never_cache
@require_GET
@login_required
def qr(request: HttpRequest) -> HttpResponse:
    """The QR code of the app that is being set up; there is none of an app in use."""
    user = cast(User, request.user)
    if second_factor.device_of(user) and second_factor.VERIFIED not in request.session:
        raise Http404
    return HttpResponse(second_factor.qr_code(second_factor.offer(user)), content_type="image/svg+xml")


def _half_known(request: HttpRequest) -> tuple[User, str] | None:
    """Whoever gave the password, or is signed in without the second factor that they have by now."""
    if request.user.is_authenticated:
        return request.user, resolve_url("dashboard")
    return half.of(request)


def _verify(request: HttpRequest, user: User, form: CodeForm) -> str | None:
    try:
        by = second_factor.verify(user, form.cleaned_data["code"])
    except second_factor.Wait as wait:
        form.add_error("code", _wait_words(wait))
        return None
    if by is None:
        credentials = {"username": user.get_username(), "what": "code"}
        user_login_failed.send(sender=__name__, credentials=credentials, request=request)
        form.add_error("code", _("This code is wrong or was used before. Take the next one."))
    return by


def _set_up(request: HttpRequest, user: User, form: SetUpForm) -> list[str] | None:
    actor = user_actor(request, user)
    try:
        codes = second_factor.set_up(user, form.cleaned_data["code"], actor, request.session.session_key)
    except second_factor.Wait as wait:
        form.add_error("code", _wait_words(wait))
        return None
    if codes is None:
        form.add_error(
            "code",
            _("This is not the code for it. Check the clock of your phone, and take the next one."),
        )
    return codes


def _wait_words(wait: second_factor.Wait) -> str:
    seconds = max(1, round((wait.until - timezone.now()).total_seconds()))
    if seconds < 60:
        return ngettext(
            "Too many wrong codes. Try again in %(n)d second.",
            "Too many wrong codes. Try again in %(n)d seconds.",
            seconds,
        ) % {"n": seconds}
    minutes = -(-seconds // 60)
    return ngettext(
        "Too many wrong codes. Try again in %(n)d minute.",
        "Too many wrong codes. Try again in %(n)d minutes.",
        minutes,
    ) % {"n": minutes}


def _say_codes_left(request: HttpRequest, user: User) -> None:
    left = second_factor.codes_left(user)
    messages.warning(
        request,
        ngettext(
            "You used a recovery code: %(n)d is left. New ones are made under your name.",
            "You used a recovery code: %(n)d are left. New ones are made under your name.",
            left,
        )
        % {"n": left},
    )
