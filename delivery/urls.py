"""The queue pages, and those of routes and known recipients below the settings."""

from django.urls import path

from delivery import recipient_views, route_views, views

urlpatterns = [
    path("", views.queue, name="queue"),
    path("<int:pk>/", views.message, name="message"),
    path("<int:pk>/eml/", views.download, name="message-download"),
    path("act/", views.act, name="queue-act"),
    path("actions/", views.actions, name="bulk-actions"),
    path("actions/<int:pk>/", views.action, name="bulk-action"),
    path("actions/<int:pk>/stop/", views.stop, name="bulk-stop"),
    path("actions/<int:pk>/undo/", views.undo, name="bulk-undo"),
]

settings_urls = [
    path("routes/<int:pk>/test/", route_views.tests, name="route-test"),
    path("routes/<int:pk>/test/<int:number>/", route_views.one, name="route-test-result"),
    path("routes/<int:pk>/test/<int:number>/arrived/", route_views.arrived, name="route-test-arrived"),
    path("domains/<int:pk>/recipients/", recipient_views.recipients, name="recipients"),
    path("domains/<int:pk>/recipients/add/", recipient_views.add, name="recipients-add"),
    path("domains/<int:pk>/recipients/remove/", recipient_views.remove, name="recipients-remove"),
    path("domains/<int:pk>/recipients/export/", recipient_views.export, name="recipients-export"),
    path("domains/<int:pk>/recipients/import/", recipient_views.upload, name="recipients-import"),
    path(
        "domains/<int:pk>/recipients/import/<int:number>/",
        recipient_views.one_import,
        name="recipients-import-one",
    ),
]
