"""The checklist, what to do during an event, and support calls; below the events."""

from django.urls import path

from events import call_views, checklist_views

urlpatterns = [
    path("calls/", call_views.calls, name="calls"),
    path("calls/<int:pk>/<slug:action>/", call_views.act, name="call-act"),
    path("<int:pk>/during/", checklist_views.during, name="during"),
    path("<int:pk>/notice/", checklist_views.write, name="event-notice"),
    path("<int:pk>/checklist/", checklist_views.checklist, name="checklist"),
    path("<int:pk>/checklist/<slug:kind>/<slug:action>/", checklist_views.act, name="checklist-act"),
]
