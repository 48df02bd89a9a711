"""The pages on which people and groups are changed; the list of people is a page of notifications."""

from django.urls import path

from accounts.people import import_views, views

urlpatterns = [
    path("add/", views.person, name="person-add"),
    path("<int:pk>/", views.person, name="person"),
    path("groups/add/", views.group, name="group-add"),
    path("groups/<int:pk>/", views.group, name="group"),
    path("export/", views.export, name="people-export"),
    path("import/", import_views.imports, name="people-imports"),
    path("import/<int:pk>/", import_views.one_import, name="people-import"),
    path("import/<int:pk>/errors/", import_views.errors, name="people-import-errors"),
]
