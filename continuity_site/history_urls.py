"""The history pages of the console."""

from django.urls import path

from continuity_site.views.history import history, history_csv

urlpatterns = [
    path("", history, name="history"),
    path("history.csv", history_csv, name="history-csv"),
]
