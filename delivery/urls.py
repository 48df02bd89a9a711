"""The queue pages."""

from django.urls import path

from delivery import views

urlpatterns = [
    path("", views.queue, name="queue"),
    path("<int:pk>/", views.message, name="message"),
    path("<int:pk>/eml/", views.download, name="message-download"),
    path("act/", views.act, name="queue-act"),
    path("actions/", views.actions, name="bulk-actions"),
    path("actions/<int:pk>/", views.action, name="bulk-action"),
    path("actions/<int:pk>/stop/", views.stop, name="bulk-stop"),
    path("actions/<int:pk>/undo/", views.undo, name="bulk-undo"),
]
