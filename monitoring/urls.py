"""The monitor pages."""

from django.urls import path

from monitoring import views

urlpatterns = [
    path("", views.monitors, name="monitors"),
    path("add/", views.edit, name="monitor-add"),
    path("<int:pk>/", views.monitor, name="monitor"),
    path("<int:pk>/edit/", views.edit, name="monitor-edit"),
]
