"""The pages of the account's texts."""

from django.urls import path

from notifications import text_views

urlpatterns = [
    path("", text_views.overview, name="texts"),
    path("<slug:kind>/<slug:language>/", text_views.edit, name="text"),
    path("<slug:kind>/<slug:language>/letter/", text_views.letter, name="text-letter"),
]
