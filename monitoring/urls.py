"""The monitor pages."""

from django.urls import path

from monitoring.views import edit, monitor, monitors

urlpatterns = [
    path("", monitors, name="monitors"),
    path("add/", edit, name="monitor-add"),
    path("<int:pk>/", monitor, name="monitor"),
    path("<int:pk>/edit/", edit, name="monitor-edit"),
]
