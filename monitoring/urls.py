"""The monitor pages. That of one monitor shows alerts as well, and is added above."""

from django.urls import path

from monitoring.views import edit, monitors, test, threshold

urlpatterns = [
    path("", monitors, name="monitors"),
    path("add/", edit, name="monitor-add"),
    path("<int:pk>/edit/", edit, name="monitor-edit"),
    path("<int:pk>/threshold/", threshold, name="monitor-threshold"),
    path("<int:pk>/test/", test, name="monitor-test"),
]
