"""The portal, below /m/."""

from django.urls import path

from events import views

urlpatterns = [
    path("<str:token>/", views.show, name="portal"),
    path("<str:token>/<str:action>/", views.act, name="portal-act"),
]
