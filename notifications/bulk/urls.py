"""The pages of notices."""

from django.urls import path

from notifications.bulk import views

urlpatterns = [
    path("", views.notices, name="notices"),
    path("add/", views.edit, name="notice-add"),
    path("<int:pk>/", views.notice, name="notice"),
    path("<int:pk>/edit/", views.edit, name="notice-edit"),
    path("<int:pk>/people/", views.recipients, name="notice-people"),
    path("<int:pk>/<slug:action>/", views.act, name="notice-act"),
]
