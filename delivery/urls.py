"""The queue pages."""

from django.urls import path

from delivery import views

urlpatterns = [
    path("", views.queue, name="queue"),
    path("<int:pk>/", views.message, name="message"),
]
