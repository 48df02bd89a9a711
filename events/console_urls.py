"""The event pages of the console."""

from django.urls import path

from events.console_views import event, events
from events.report import report

urlpatterns = [
    path("", events, name="events"),
    path("<int:pk>/", event, name="event"),
    path("<int:pk>/report/", report, name="event-report"),
]
