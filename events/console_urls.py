"""The event pages of the console."""

from django.urls import path

from events import console_views as views

urlpatterns = [
    path("", views.events, name="events"),
    path("<int:pk>/", views.event, name="event"),
]
