"""Stretches of time of one length, counted by the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.models import (
    Func,
    IntegerField,
)


class Bucket(Func):
    """The number of the stretch of `seconds` since 1970 into which an instant falls."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # To the second: strftime rounds, and the last half millisecond of a day would be in the next one.
        template = "(CAST(strftime('%%%%s', substr(%(expressions)s, 1, 19)) AS INTEGER) / %(seconds)s)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / %(seconds)s)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)


def instant_of(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
