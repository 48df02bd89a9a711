"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings
from django.db import connection

# The same examples on every run; none fails for a slow machine. HYPOTHESIS=search looks for new ones.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS", "suite"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """On SQLite the test database is a file, so that threads and processes can share it."""
    database = settings.DATABASES["default"]
    if "sqlite3" in database["ENGINE"]:
        database.setdefault("TEST", {})["NAME"] = str(Path(os.environ["DATA_DIR"]) / "test.sqlite3")


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """DATABASE_URL with which a process of its own sees this test's database."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    base, _, query = os.environ["DATABASE_URL"].partition("?")
    return f"{base.rpartition('/')[0]}/{name}?{query}"


USES_A_DATABASE = {"db", "transactional_db", "live_server", "database_url"}
BY_THEMSELVES = ("tests/faults/", "tests/scenarios/", "tests/test_servers.py")  # start databases of their own


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What touches no database runs once: on PostgreSQL it would only show the same again."""
    if os.environ.get("TEST_DATABASE") != "postgres":
        return
    once = [item for item in items if not _uses_a_database(item)]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if _uses_a_database(item)]


def _uses_a_database(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    marked = item.get_closest_marker("django_db") is not None
    return marked or bool(USES_A_DATABASE & fixtures) or item.nodeid.startswith(BY_THEMSELVES)
