"""The suite's own servers are the real ones."""

import os
import subprocess
import sys

import django_rq
import pytest
from django.db import connection

from accounts.models import Account


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_the_test_database(database_url: str) -> None:
    Account.objects.create(name="Example", slug="example")
    code = "from accounts.models import Account; print(Account.objects.get().slug)"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    environment = os.environ | {"DATABASE_URL": database_url}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "example"


@pytest.mark.django_db
def test_sqlite_writes_are_durable() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL is durable by default")
    with connection.cursor() as cursor:
        pragmas = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}


def test_redis_answers() -> None:
    assert django_rq.get_queue("alerts").connection.ping()
