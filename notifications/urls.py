"""The contact pages."""

from django.urls import path

from notifications import views

urlpatterns = [
    path("", views.contacts, name="contacts"),
    path("add/", views.edit, name="contact-add"),
    path("<int:pk>/", views.edit, name="contact"),
]
