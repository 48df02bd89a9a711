"""What indexes and searches of the queue have in common."""

from __future__ import annotations

from typing import Any

from django.db import models


class Folded(models.Func):
    """Text in lower case (ASCII), ordered by its bytes on every database: what prefix searches go by."""

    arity = 1
    output_field = models.TextField()
    template = "LOWER(%(expressions)s)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template='LOWER((%(expressions)s) COLLATE "C")', **context)


class SenderKey(models.Func):
    """`domain@local` in lower case: one index finds a whole address and everybody of a domain."""

    arity = 1
    output_field = models.TextField()
    template = (
        "LOWER(SUBSTR(%(expressions)s, INSTR(%(expressions)s, '@') + 1) || '@' || "
        "SUBSTR(%(expressions)s, 1, MAX(INSTR(%(expressions)s, '@') - 1, 0)))"
    )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = (
            "LOWER((SUBSTR(%(expressions)s, STRPOS(%(expressions)s, '@') + 1) || '@' || "
            "SUBSTR(%(expressions)s, 1, GREATEST(STRPOS(%(expressions)s, '@') - 1, 0))) COLLATE \"C\")"
        )
        return self.as_sql(compiler, connection, template=template, **context)
