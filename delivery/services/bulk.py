"""Many rows into one table at a small part of the ORM's cost, which at acceptance was two thirds of all.

Django builds an object and converts each field of each row. Here rows are tuples in the database's own
terms; SQLite gets them through one prepared statement, PostgreSQL by COPY.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connection, models

Row = tuple[Any, ...]


def stored(instant: datetime) -> Any:
    """An aware datetime as it is given to the database."""
    return connection.ops.adapt_datetimefield_value(instant)


class Table:
    """Inserts into a model's table. Columns that are not named get the default of their field.

    Nothing is validated and no signal is sent. Call inside a transaction. Database errors are Django's.
    """

    def __init__(self, model: type[models.Model], *columns: str, binary: Sequence[str] = ()) -> None:
        """`columns` as the database names them; `binary` are PostgreSQL's types of them, for bytes."""
        self._model, self._named, self._binary = model, columns, binary

    def new_ids(self, number: int) -> Sequence[int]:
        """Primary keys for so many rows, in ascending order. They are never given out again."""
        table = self._model._meta.db_table
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
                    [table, number],
                )
                return [row[0] for row in cursor.fetchall()]
            # Transactions are immediate: nobody else counts on from here until this one ends.
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            last = cursor.fetchone()
        first = (last[0] if last else 0) + 1
        return range(first, first + number)

    def insert(self, rows: Iterable[Row]) -> None:
        """Rows of the named columns' values, `stored()` where they are datetimes."""
        rest = self._rest
        rows = list(rows)
        if not rows:
            return
        with connection.cursor() as cursor:
            if connection.vendor != "postgresql":
                cursor.executemany(self._statement, [row + rest for row in rows] if rest else rows)
                return
            options = " WITH (FORMAT BINARY)" if self._binary else ""
            with (
                connection.wrap_database_errors,
                cursor.copy(f"COPY {self._target} FROM STDIN{options}") as copy,
            ):
                if self._binary:
                    copy.set_types(self._binary)
                for row in rows:
                    copy.write_row(row + rest)

    @cached_property
    def _others(self) -> list[Any]:
        fields = self._model._meta.concrete_fields
        return [
            field
            for field in fields
            if not (field.primary_key or field.generated or field.column in self._named)
        ]

    @property
    def _rest(self) -> Row:
        return tuple(field.get_db_prep_save(field.get_default(), connection) for field in self._others)

    @cached_property
    def _target(self) -> str:
        names = [*self._named, *(field.column for field in self._others)]
        quoted = ", ".join(connection.ops.quote_name(name) for name in names)
        return f"{connection.ops.quote_name(self._model._meta.db_table)} ({quoted})"

    @cached_property
    def _statement(self) -> str:
        marks = ", ".join(["%s"] * (len(self._named) + len(self._others)))
        return f"INSERT INTO {self._target} VALUES ({marks})"  # noqa: S608  (names of our own columns)
