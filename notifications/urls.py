"""The contact pages."""

from django.urls import path

from notifications.history import alerts
from notifications.views import act, contact, contacts, edit

urlpatterns = [
    path("", contacts, name="contacts"),
    path("alerts/", alerts, name="alerts"),
    path("add/", edit, name="contact-add"),
    path("<int:pk>/", contact, name="contact"),
    path("<int:pk>/edit/", edit, name="contact-edit"),
    path("points/<int:pk>/<slug:action>/", act, name="point-act"),
]
