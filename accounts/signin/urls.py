"""Addresses of signing in, and of one's own sign-in."""

from django.urls import path

from accounts.signin import oidc_views, own_views, views

sign_in_urls = [
    path("", views.SignIn.as_view(), name="sign-in"),
    path("code/", views.code, name="sign-in-code"),
    path("oidc/", oidc_views.set_out, name="oidc"),
    path("oidc/back/", oidc_views.arrive, name="oidc-back"),
    path("second-factor/", views.set_up, name="second-factor"),
    path("second-factor/qr.svg", views.qr, name="second-factor-qr"),
]
own_urls = [
    path("", own_views.you, name="you"),
    path("password/", own_views.password, name="password"),
    path("recovery-codes/", own_views.recovery_codes, name="recovery-codes"),
    path("second-factor/remove/", own_views.remove, name="second-factor-remove"),
    path("sessions/", own_views.end_sessions, name="end-sessions"),
]
