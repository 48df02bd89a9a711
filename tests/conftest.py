"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client, TransactionTestCase

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


@pytest.fixture(scope="session", autouse=True)
def quick_settings() -> None:
    """Less work in this process, with the same outcome; processes that tests start have the product's own."""
    # Files of static/ are found when they are asked for, not all of them for each test's client.
    settings.WHITENOISE_AUTOREFRESH = True
    # The second is what the product stores and reads; the first costs nothing.
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]


@pytest.fixture(scope="session", autouse=True)
def forced_login_is_complete() -> None:
    """`Client.force_login` skips the password; in this suite it skips the second factor as well."""
    from accounts.signin.second_factor import VERIFIED

    password_alone = Client.force_login

    def force_login(client: Client, *arguments: Any, **options: Any) -> None:
        password_alone(client, *arguments, **options)
        session = client.session
        session[VERIFIED] = "forced"
        session.save()

    Client.force_login = force_login  # type: ignore[method-assign, assignment]


# What `migrate` fills, and no test changes.
FILLED_BY_MIGRATE = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> None:
    """Empty the tables after a `transactional_db` test in one go, in place of Django's `flush`.

    That truncates, which on PostgreSQL makes some 200 files anew, and then writes every permission again.
    """

    def empty(_: TransactionTestCase) -> None:
        tables = sorted(set(connection.introspection.django_table_names()) - FILLED_BY_MIGRATE)
        deletes = [f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables]
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                with connection.constraint_checks_disabled(), transaction.atomic():
                    # Audit rows are not deleted while their triggers are there.
                    cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                    triggers = cursor.fetchall()
                    deletes = [f"DROP TRIGGER {name}" for name, _ in triggers] + deletes
                    for statement in deletes + [sql for _, sql in triggers]:
                        cursor.execute(statement)
            else:  # without looking for what refers to the rows, and without triggers
                roles = ["SET session_replication_role = replica", "SET session_replication_role = DEFAULT"]
                cursor.execute("; ".join([roles[0], *deletes, roles[1]]))

    TransactionTestCase._fixture_teardown = empty  # type: ignore[attr-defined]


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

# Not again on PostgreSQL, where they would show only the same: which database it is makes no difference to
# what is tested there. Everything about concurrency, constraints, crashes, services and queries stays.
ON_SQLITE_ONLY = (
    "tests/browser/",  # what a browser does with pages; Django's test client reads them on both databases
    "tests/site/test_up.py",  # the supervisor; the scenario runs it on PostgreSQL
    "tests/faults/test_kill.py",  # each process once; on PostgreSQL the random kills
    "tests/faults/test_full_disk.py",  # on PostgreSQL with FAULTS=long: it takes the server as well
    "tests/scenarios/test_round_trip.py",
    "tests/events/test_a_day.py",  # Redis, wiped or away, and the clock
    "tests/notifications/test_bad_providers.py",
    # Who may see and press what. That the pages' queries work on PostgreSQL the remaining ones show.
    "tests/site/test_routes.py",
    "tests/site/test_pages.py::test_anonymous",
    "tests/site/test_pages.py::test_nothing_of_another_account",
    "tests/site/test_pages.py::test_pages_are_clean",
    "tests/site/test_pages.py::test_support_reads",
    "tests/site/test_pages_actions.py",
    "tests/events/test_portal_refusals.py",
    "tests/site/test_schedule.py",
    "tests/delivery/test_courier_crash.py::test_it_stops_within_five_seconds",
    "tests/delivery/test_queue_search.py::test_every_filter_finds_what_a_look_at_every_row_finds[few",
    # What is said to mail servers, and how their oddities are borne
    "tests/faults/test_odd_servers.py",
    "tests/delivery/test_courier_drain.py",
    "tests/delivery/test_courier_groups.py",
    "tests/delivery/test_courier_tls.py",
    "tests/delivery/test_courier_xclient.py",
    "tests/delivery/test_gateway_authentic.py",
    "tests/delivery/test_gateway_data.py",
    "tests/delivery/test_gateway_refusals.py",
    "tests/delivery/test_gateway_tls.py",
)

ON_POSTGRES_ONLY = ("tests/faults/test_random_kills.py",)
LONG_FAULTS = os.environ.get("FAULTS") == "long"  # then everything runs on both

# Begun first, so that no long file is left alone at the end: mostly they wait for processes.
LONG = (
    "tests/scenarios/",
    "tests/faults/test_kill.py",
    "tests/site/test_up.py",
    "tests/faults/",
    "tests/browser/",
    "tests/delivery/test_courier",
    "tests/delivery/test_gateway",
    "tests/site/test_demo_server.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first; on each database only what the other does not show as well."""
    items.sort(key=lambda item: next((n for n, path in enumerate(LONG) if item.nodeid.startswith(path)), 99))
    elsewhere = [item for item in items if _runs_elsewhere(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if not _runs_elsewhere(item)]


def _runs_elsewhere(item: pytest.Item) -> bool:
    """Whether the other database's run shows the same."""
    if os.environ.get("TEST_DATABASE") == "postgres":
        return not _may_differ(item)
    return not LONG_FAULTS and item.nodeid.startswith(ON_POSTGRES_ONLY)


def _may_differ(item: pytest.Item) -> bool:
    """Whether it uses a database at all, and shows anything about it."""
    if not LONG_FAULTS and item.nodeid.startswith(ON_SQLITE_ONLY):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    marked = item.get_closest_marker("django_db") is not None
    return marked or bool(USES_A_DATABASE & fixtures) or item.nodeid.startswith(BY_THEMSELVES)
