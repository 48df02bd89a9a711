"""The event pages of the console."""

from django.urls import path

from events.console_views import event, events

urlpatterns = [
    path("", events, name="events"),
    path("<int:pk>/", event, name="event"),
]
