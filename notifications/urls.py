"""The contact pages."""

from django.urls import path

from notifications.views import contacts, edit

urlpatterns = [
    path("", contacts, name="contacts"),
    path("add/", edit, name="contact-add"),
    path("<int:pk>/", edit, name="contact"),
]
