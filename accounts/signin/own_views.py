"""What a user sees and changes of their own sign-in: password, second factor, recovery codes, sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.access import user_actor
from accounts.models import User
from accounts.signin import books, second_factor, sessions
from accounts.signin.forms import PasswordForm

View = Callable[[HttpRequest], HttpResponse]


def _own(*methods: str) -> Callable[[View], View]:
    """A page of the signed-in user, that is kept in no cache and shows no password in an error report."""

    def decorate(view: View) -> View:
        guarded = login_required(require_http_methods(list(methods))(view))
        return sensitive_post_parameters()(never_cache(guarded))

    return decorate


@_own("GET")
def you(request: HttpRequest) -> HttpResponse:
    """Everything about the user's own sign-in on one page."""
    user = cast(User, request.user)
    device = second_factor.device_of(user)
    return render(
        request,
        "accounts/you.html",
        {
            "device": device,
            "left": second_factor.codes_left(user) if device else 0,
            "needed": _needed(request, user),
            "sessions": sessions.of(user.pk, timezone.now()),
            "here": request.session.session_key,
        },
    )


@_own("GET", "POST")
def password(request: HttpRequest) -> HttpResponse:
    """Change the password; every other session of the user ends."""
    user = cast(User, request.user)
    form = PasswordChangeForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with books.decided(user, user_actor(request, user)) as record:
            form.save()
            sessions.end(user.pk, but=request.session.session_key)
            record("user.password_changed", subject=f"user:{user.pk}")
        update_session_auth_hash(request, user)
        messages.success(request, _("Your password was changed. Every other session was signed out."))
        return redirect("you")
    return _ask(request, form, _("Change your password"), "")


@_own("GET", "POST")
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """New recovery codes in place of those before."""
    user = cast(User, request.user)
    if not second_factor.device_of(user):
        return redirect("second-factor")
    form = PasswordForm(request, user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        codes = second_factor.new_codes(user, user_actor(request, user))
        return render(request, "accounts/recovery_codes.html", {"codes": codes})
    intro = _("You get ten new recovery codes. Those that you have now count no more.")
    return _ask(request, form, _("New recovery codes"), intro)


@_own("GET", "POST")
def remove(request: HttpRequest) -> HttpResponse:
    """Go without a second factor, where the user may."""
    user = cast(User, request.user)
    if _needed(request, user):
        messages.warning(
            request, _("Administrators need a second factor. You can replace it, but not go without.")
        )
        return redirect("you")
    form = PasswordForm(request, user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        second_factor.remove(user, user_actor(request, user), request.session.session_key)
        messages.success(request, _("The second factor was removed. Your password alone signs you in."))
        return redirect("you")
    intro = _("From then on your password alone signs you in. Your recovery codes count no more.")
    return _ask(request, form, _("Remove the second factor"), intro)


@_own("POST")
def end_sessions(request: HttpRequest) -> HttpResponse:
    """Sign out one session by its name, or all but this one."""
    user, name = cast(User, request.user), request.POST.get("session", "")
    with books.decided(user, user_actor(request, user)) as record:
        ended = sessions.end(user.pk, but=request.session.session_key, name=None if name == "all" else name)
        if ended:
            record("user.sessions_ended", subject=f"user:{user.pk}", sessions=ended)
    words = ngettext("%(n)d session was signed out.", "%(n)d sessions were signed out.", ended)
    messages.success(request, words % {"n": ended})
    return redirect("you")


def _needed(request: HttpRequest, user: User) -> bool:
    return second_factor.needed(user, request.roles)  # type: ignore[attr-defined]


def _ask(request: HttpRequest, form: forms.Form, title: str, intro: str) -> HttpResponse:
    return render(request, "accounts/you_form.html", {"form": form, "title": title, "intro": intro})
