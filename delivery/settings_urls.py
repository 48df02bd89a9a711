"""Pages of routes and known recipients, below the settings."""

from django.urls import path

from delivery import route_views

urlpatterns = [
    path("routes/<int:pk>/test/", route_views.tests, name="route-test"),
    path("routes/<int:pk>/test/<int:number>/", route_views.one, name="route-test-result"),
    path("routes/<int:pk>/test/<int:number>/arrived/", route_views.arrived, name="route-test-arrived"),
]
