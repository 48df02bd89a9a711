"""Every address of the installation."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from accounts import views as accounts
from accounts.signin.urls import own_urls, sign_in_urls
from accounts.signin.views import SignOut
from accounts.tokens.views import tokens
from continuity_site.api import api
from continuity_site.health import healthz
from continuity_site.views import dashboard, demo, readiness, settings
from delivery.urls import settings_urls
from events import monitor_page
from events.console_views import steps
from notifications.bulk.views import people_list
from notifications.people import views as own_pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("", dashboard.dashboard, name="dashboard"),
    path("actions/<slug:action>/", dashboard.act, name="act"),
    path("sign-in/", include(sign_in_urls)),
    path("sign-out/", SignOut.as_view(), name="sign-out"),
    path("you/", include(own_urls)),
    path("account/", accounts.choose_account, name="choose-account"),
    path("queue/", include("delivery.urls")),
    path("events/", include("events.console_urls")),
    path("events/", include("events.checklist_urls")),
    path("history/", include("continuity_site.history_urls")),
    path("m/", include("events.urls")),
    path("monitors/<int:pk>/steps/", steps, name="monitor-steps"),
    path("monitors/", include("monitoring.urls")),
    path("monitors/<int:pk>/", monitor_page.monitor, name="monitor"),
    path("contacts/", include("notifications.urls")),
    path("people/", people_list, name="people"),
    path("people/", include("accounts.people.urls")),
    path("people/links/", own_pages.links, name="people-links"),
    path("people/<int:pk>/link/", own_pages.link, name="person-link"),
    path("me/<str:token>/", own_pages.own_page, name="own-page"),
    path("notices/", include("notifications.bulk.urls")),
    path("receipts/", include("notifications.receipt_urls")),
    path("settings/", settings.overview, name="settings"),
    path("settings/", include(settings_urls)),
    path("settings/texts/", include("notifications.text_urls")),
    path("settings/tokens/", tokens, name="api-tokens"),
    path("settings/zone/", settings.zone, name="zone"),
    path("settings/<slug:part>/", settings.edit, name="settings-edit"),
    path("settings/<slug:part>/<int:pk>/", settings.edit, name="settings-edit"),
    path("readiness/", readiness.page, name="readiness"),
    path("demo/", demo.page, name="demo"),
    path("demo/send/", demo.send, name="demo-send"),
    path("demo/server/", demo.server, name="demo-server"),
    path("demo/letter/<int:pk>/", demo.letter, name="demo-letter"),
    path("api/v1/", api.urls),
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
]
